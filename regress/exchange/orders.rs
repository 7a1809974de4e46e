//! Every order in which the messages of exchanges that collide can arrive, with one of them lost or
//! doubled too: each ends in the same SAs on both sides and in both kernels.
//!
//! A run is a list of choices: at each point what happens next is one of the things that can, a
//! side beginning its exchange or a datagram arriving. The list is counted through like the digits
//! of a number, and each run begins anew. `ORDERS=3` goes three choices deeper where the depth is
//! bounded, `COUNT=1` says how many runs there were.

use crate::pair::*;
use oakd::ike::event::*;
use oakd::ike::report::Event;

/// What a side begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    RekeyChild,
    RekeyIke,
    DeleteChild,
    DeleteIke,
}
use Act::*;

/// What happens to a datagram beyond arriving, once in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    Lost,
    Doubled,
}

/// A choice: which of how many, and whether the mishap happens.
#[derive(Clone, Debug, Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, of));
        }
        let (chosen, count) = self.made[self.at];
        assert_eq!(count, of, "a run that is repeated goes the same way");
        self.at += 1;
        chosen
    }

    /// The next list; `false` when all were had.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.made.pop() {
            if chosen + 1 < of {
                self.made.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

struct Story {
    /// What each side begins, in its order.
    acts: [Vec<Act>; 2],
    mishap: Mishap,
    /// How many datagrams are chosen among; later ones arrive in the order they were sent.
    depth: usize,
    pfs: bool,
}

/// No packet would be lost: each side sends on an SA that the other receives on.
fn no_gap(pair: &Pair, what: &str) {
    for side in [A, B] {
        let (own, peers) = (&pair.sides[side].kernel, &pair.sides[1 - side].kernel);
        assert!(own.count(Direction::Out) > 0, "side {side} cannot send, {what}");
        let outbound = own.flows.keys().filter(|(direction, _)| *direction == Direction::Out);
        assert!(outbound.count() > 0, "side {side} has no flow, {what}");
        for sa in own.sas.values().filter(|sa| sa.direction == Direction::Out) {
            let twin = peers.sas.contains_key(&(sa.key.spi.0, sa.key.dst));
            assert!(twin, "side {side} sends on {:?}, which nobody receives, {what}", sa.key);
        }
    }
}

fn begin(pair: &mut Pair, side: usize, act: Act) {
    let name = "test".to_string();
    match act {
        RekeyChild => pair.command(side, Command::Rekey { name, ike: false }),
        RekeyIke => pair.command(side, Command::Rekey { name, ike: true }),
        DeleteIke => pair.command(side, Command::ResetId(name)),
        DeleteChild if pair.sides[side].kernel.count(Direction::In) == 0 => (),
        DeleteChild => pair.expire(side, true),
    }
}

/// Plays one run.
fn run(story: &Story, choices: &mut Choices) {
    let groups: &[_] = if story.pfs { &[oakd::wire::iana::v2::GroupId::CURVE25519] } else { &[] };
    let mut pair = Pair::of(|policy| policy.child_proposals = vec![child(gcm(groups))]);
    pair.pass(1).assert_up();
    let gentle = story.acts.iter().flatten().all(|act| matches!(act, RekeyChild | RekeyIke));
    let mut left = story.acts.clone();
    let mut mishap = story.mishap;
    let mut delivered = 0;
    let mut told = Vec::new();
    let trace = std::env::var_os("STORY").is_some();
    loop {
        let sides: Vec<usize> = [A, B].into_iter().filter(|side| !left[*side].is_empty()).collect();
        let flying = if delivered < story.depth { pair.flying.len() } else { 0 };
        let ways = if mishap == Mishap::None { 1 } else { 2 };
        let options = sides.len() + flying * ways;
        let chosen = match (options, pair.flying.is_empty()) {
            (0, true) => break,
            (0, false) => sides.len(),
            (1, _) => 0,
            _ => choices.choose(options),
        };
        if let Some(side) = sides.get(chosen) {
            let act = left[*side].remove(0);
            told.push(format!("{} begins {act:?}", ["A", "B"][*side]));
            if trace {
                eprintln!("-- {}", told.last().unwrap());
            }
            begin(&mut pair, *side, act);
        } else {
            let chosen = chosen - sides.len();
            let at = chosen / ways;
            delivered += 1;
            let header = oakd::wire::Header::parse(&pair.flying[at].octets).unwrap();
            let what = format!(
                "{} {} {} reaches {}",
                header.exchange,
                header.message_id.0,
                if header.is_response() { "response" } else { "request" },
                ["A", "B"][pair.flying[at].to]
            );
            let fate = if ways == 2 && chosen % 2 == 1 { mishap } else { Mishap::None };
            told.push(format!("{what} {fate:?}"));
            if trace {
                eprintln!("-- {}", told.last().unwrap());
            }
            match fate {
                Mishap::None => pair.deliver(at),
                Mishap::Lost => {
                    pair.flying.remove(at);
                    mishap = Mishap::None;
                }
                Mishap::Doubled => {
                    let again = pair.flying[at].clone();
                    pair.deliver(at);
                    pair.flying.push(again);
                    mishap = Mishap::None;
                }
            }
        }
        if gentle {
            no_gap(&pair, &format!("{:?}: {told:#?}", story.acts));
        }
    }
    let ends = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..15 {
            pair.pass(10);
            if gentle {
                no_gap(&pair, "afterwards");
            }
        }
        pair.assert_up();
        let complaint = |event: &Event| matches!(event, Event::Misbehaved { .. });
        assert!(!pair.reported(A, complaint) && !pair.reported(B, complaint), "misbehaved");
        pair.end();
    }));
    if let Err(why) = ends {
        eprintln!("{:?}: {told:#?}", story.acts);
        std::panic::resume_unwind(why);
    }
}

fn all(a: &[Act], b: &[Act], mishap: Mishap, depth: usize, pfs: bool) -> usize {
    let story = Story { acts: [a.to_vec(), b.to_vec()], mishap, depth, pfs };
    let mut choices = Choices::default();
    let mut runs = 0;
    loop {
        run(&story, &mut choices);
        runs += 1;
        if !choices.advance() {
            if std::env::var_os("COUNT").is_some() {
                eprintln!("{a:?} {b:?} {mishap:?}: {runs} runs");
            }
            return runs;
        }
    }
}

/// Every order; every order with each message lost; the first orders with each doubled.
fn with_mishaps(a: &[Act], b: &[Act]) {
    assert!(all(a, b, Mishap::None, 20, false) > 10);
    assert!(all(a, b, Mishap::Lost, depth(7), true) > 10);
    assert!(all(a, b, Mishap::Doubled, depth(4), false) > 10);
}

/// How many datagrams are chosen among, with what there is time for each day.
fn depth(usual: usize) -> usize {
    let more = std::env::var("ORDERS").ok().and_then(|more| more.parse().ok());
    usual + more.unwrap_or(0)
}

#[test]
fn two_rekeys_of_a_child() {
    with_mishaps(&[RekeyChild], &[RekeyChild]);
}

#[test]
fn two_rekeys_of_the_ike_sa() {
    with_mishaps(&[RekeyIke], &[RekeyIke]);
}

#[test]
fn a_rekey_of_the_ike_sa_and_one_of_a_child() {
    with_mishaps(&[RekeyIke], &[RekeyChild]);
}

#[test]
fn rekeys_of_both_kinds_on_both_sides() {
    assert!(all(&[RekeyIke, RekeyChild], &[RekeyChild], Mishap::None, depth(5), false) > 10);
    assert!(all(&[RekeyChild, RekeyIke], &[RekeyIke], Mishap::None, depth(5), false) > 10);
}

#[test]
fn a_child_is_deleted_meanwhile() {
    for b in [RekeyChild, RekeyIke, DeleteChild, DeleteIke] {
        with_mishaps(&[DeleteChild], &[b]);
    }
}

#[test]
fn the_ike_sa_is_deleted_meanwhile() {
    for b in [RekeyChild, RekeyIke, DeleteIke] {
        with_mishaps(&[DeleteIke], &[b]);
    }
}
