//! Every order in which the messages of exchanges that collide can arrive, with one of them lost or
//! doubled too: each ends in the same SAs on both sides and in both kernels.
//!
//! A run is a list of choices: at each point what happens next is one of the things that can, a
//! side beginning its exchange or a datagram arriving. The list is counted through like the digits
//! of a number, and each run begins anew. `ORDERS=3` goes three choices deeper where the depth is
//! bounded, `COUNT=1` says how many runs there were.

use crate::pair::*;
use oakd::conf::Phase1;
use oakd::ike::Settings;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::v2::GroupId;

/// What a side begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    RekeyChild,
    RekeyIke,
    DeleteChild,
    DeleteIke,
}
use Act::*;

/// What happens to a datagram beyond arriving, once in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
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

pub struct Story {
    /// By IKEv1, where two child SAs for the same traffic may remain.
    pub ikev1: bool,
    /// What each side begins, in its order.
    acts: [Vec<Act>; 2],
    mishap: Mishap,
    /// How many datagrams are chosen among; later ones arrive in the order they were sent.
    depth: usize,
    pfs: bool,
    /// How many requests each side takes at a time.
    window: u8,
    /// How many child SAs there are: what is begun with "the child" is begun with both.
    children: usize,
    /// Whose kernels take their time: that one answers is one of the things that happen.
    pub slow: &'static [usize],
}

impl Story {
    pub fn new(a: &[Act], b: &[Act], mishap: Mishap, depth: usize, pfs: bool) -> Self {
        Self {
            ikev1: false,
            acts: [a.to_vec(), b.to_vec()],
            mishap,
            depth,
            pfs,
            window: 4,
            children: 1,
            slow: &[],
        }
    }

    /// Both sides, up.
    fn pair(&self) -> Pair {
        let groups: &[_] = if self.pfs { &[GroupId::CURVE25519] } else { &[] };
        let settings = Settings { window: self.window, ..Settings::default() };
        let mut pair = Pair::with(settings, 1);
        for side in [B, A] {
            let mut it = policy(side);
            it.child_proposals = vec![child(gcm(groups))];
            if self.ikev1 {
                it = crate::v1_phases::ikev1(side, Phase1::Main);
            }
            if self.children == 2 {
                // One child SA carries IPv4, the other IPv6.
                pair.input(side, Input::Capabilities(crate::further::one_family()));
                it.flows.push(match side {
                    A => flow("2001:db8:1::/64", "2001:db8:2::/64"),
                    _ => flow("2001:db8:2::/64", "2001:db8:1::/64"),
                });
            }
            pair.configure(side, vec![it]);
        }
        pair.pass(1);
        pair.assert_ike(1);
        pair.assert_children(self.children);
        pair
    }
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

/// Each SA that one kernel has the other has too.
fn same_sas(pair: &Pair) {
    let kernels = [A, B].map(|side| pair.sides[side].kernel.sas.keys().collect::<Vec<_>>());
    assert_eq!(kernels[A], kernels[B]);
    assert!(!kernels[A].is_empty());
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
    let mut pair = story.pair();
    let gentle = story.acts.iter().flatten().all(|act| matches!(act, RekeyChild | RekeyIke));
    let mut left = story.acts.clone();
    let mut mishap = story.mishap;
    let mut delivered = 0;
    let mut told = Vec::new();
    let trace = std::env::var_os("STORY").is_some();
    let slow = |pair: &mut Pair, slow| {
        for side in story.slow {
            pair.sides[*side].slow = slow;
        }
    };
    slow(&mut pair, true);
    loop {
        let sides: Vec<usize> = [A, B].into_iter().filter(|side| !left[*side].is_empty()).collect();
        let flying = if delivered < story.depth { pair.flying.len() } else { 0 };
        let ways = if mishap == Mishap::None { 1 } else { 2 };
        let owes = |side: &usize| !pair.sides[*side].owed.is_empty();
        let owing: Vec<usize> = story.slow.iter().copied().filter(owes).collect();
        let options = sides.len() + owing.len() + flying * ways;
        let chosen = match (options, pair.flying.is_empty()) {
            (0, true) => break,
            (0, false) => sides.len() + owing.len(),
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
        } else if let Some(side) = owing.get(chosen - sides.len()) {
            told.push(format!("the kernel of {} answers", ["A", "B"][*side]));
            if trace {
                eprintln!("-- {}", told.last().unwrap());
            }
            pair.settle(*side);
        } else {
            let chosen = chosen - sides.len() - owing.len();
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
    slow(&mut pair, false);
    let mut reports = Vec::new();
    let ends = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..15 {
            pair.pass(10);
            if gentle {
                no_gap(&pair, "afterwards");
            }
        }
        for (name, side) in ["A", "B"].iter().zip(&pair.sides) {
            reports.extend(side.reports.iter().map(|report| format!("{name}: {report}")));
        }
        pair.assert_ike(1);
        match story.ikev1 {
            true => same_sas(&pair),
            false => pair.assert_children(story.children),
        }
        let complaint = |event: &Event| matches!(event, Event::Misbehaved { .. });
        assert!(!pair.reported(A, complaint) && !pair.reported(B, complaint), "misbehaved");
        pair.end();
    }));
    if let Err(why) = ends {
        eprintln!("{:?}: {told:#?}", story.acts);
        eprintln!("{}", reports.join("\n"));
        std::panic::resume_unwind(why);
    }
}

pub fn all(story: &Story) -> usize {
    let mut choices = Choices::default();
    let mut runs = 0;
    loop {
        run(story, &mut choices);
        runs += 1;
        if !choices.advance() {
            if std::env::var_os("COUNT").is_some() {
                let Story { acts, mishap, window, children, slow, .. } = story;
                eprintln!(
                    "{acts:?} {mishap:?}, window {window}, {children} children, slow {slow:?}: {runs} runs"
                );
            }
            return runs;
        }
    }
}

/// Every order, with one request at a time and with several; every order with each message lost; the first
/// orders with each doubled; and with two child SAs, for which requests go side by side.
fn with_mishaps(a: &[Act], b: &[Act]) {
    let story = |mishap, depth, pfs| Story::new(a, b, mishap, depth, pfs);
    assert!(all(&story(Mishap::None, 20, false)) > 10);
    assert!(all(&Story { window: 1, ..story(Mishap::None, 20, false) }) > 10);
    assert!(all(&story(Mishap::Lost, depth(7), true)) > 10);
    assert!(all(&Story { window: 1, ..story(Mishap::Lost, depth(4), false) }) > 10);
    assert!(all(&story(Mishap::Doubled, depth(4), false)) > 10);
    for slow in [&[A][..], &[B], &[A, B]] {
        assert!(all(&Story { slow, ..story(Mishap::None, depth(3), false) }) > 10);
    }
    assert!(all(&Story { children: 2, ..story(Mishap::None, depth(4), false) }) > 10);
    assert!(all(&Story { children: 2, ..story(Mishap::Lost, depth(2), false) }) > 10);
    assert!(all(&Story { children: 2, ..story(Mishap::Doubled, depth(2), false) }) > 10);
}

/// How many datagrams are chosen among, with what there is time for each day.
pub fn depth(usual: usize) -> usize {
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
    let rows: [(&[Act], &[Act]); 2] =
        [(&[RekeyIke, RekeyChild], &[RekeyChild]), (&[RekeyChild, RekeyIke], &[RekeyIke])];
    for (a, b) in rows {
        let story = Story::new(a, b, Mishap::None, depth(5), false);
        assert!(all(&story) > 10);
        assert!(all(&Story { window: 1, ..story }) > 10);
    }
}

#[test]
fn a_child_is_deleted_meanwhile() {
    for b in [RekeyChild, RekeyIke, DeleteChild, DeleteIke] {
        with_mishaps(&[DeleteChild], &[b]);
    }
}

#[test]
fn one_child_is_deleted_and_the_others_rekeyed_side_by_side() {
    for b in [RekeyChild, RekeyIke, DeleteChild, DeleteIke] {
        let a = [DeleteChild, RekeyChild];
        let story = Story::new(&a, &[b], Mishap::None, depth(3), false);
        assert!(all(&Story { children: 2, ..story }) > 10);
    }
}

#[test]
fn the_ike_sa_is_deleted_meanwhile() {
    for b in [RekeyChild, RekeyIke, DeleteIke] {
        with_mishaps(&[DeleteIke], &[b]);
    }
}

#[test]
fn several_requests_go_out_at_once_where_the_peer_takes_them() {
    for (window, at_once) in [(1, 1), (4, 2)] {
        let story = Story::new(&[], &[], Mishap::None, 0, false);
        let mut pair = Story { children: 2, window, ..story }.pair();
        begin(&mut pair, A, RekeyChild);
        assert_eq!(pair.flying.len(), at_once);
        // The later one is answered in its turn.
        if window > 1 {
            pair.deliver(1);
            assert_eq!(pair.flying.len(), 1);
            pair.deliver(0);
            assert_eq!(pair.flying.len(), 2);
        }
        pair.pass(30).assert_children(2);
        pair.end();
    }
}

#[test]
fn an_ike_sa_made_by_rekeying_takes_several_requests_too() {
    let story = Story::new(&[], &[], Mishap::None, 0, false);
    let mut pair = Story { children: 2, ..story }.pair();
    begin(&mut pair, A, RekeyIke);
    pair.pass(2);
    // A hears with the answer to its first request how many more there may be.
    begin(&mut pair, A, RekeyChild);
    assert_eq!(pair.flying.len(), 1);
    pair.pass(30).assert_children(2);
    begin(&mut pair, A, RekeyChild);
    assert_eq!(pair.flying.len(), 2);
    pair.pass(30).assert_children(2);
    pair.end();
}

#[test]
fn the_ike_sa_is_rekeyed_when_the_peer_has_read_what_it_was_answered() {
    let mut pair = Story::new(&[], &[], Mishap::None, 0, false).pair();
    begin(&mut pair, B, RekeyChild);
    pair.deliver(0);
    assert_eq!(pair.flying.len(), 1);
    // The answer is on its way still, and may get lost.
    begin(&mut pair, A, RekeyIke);
    assert_eq!(pair.flying.len(), 1);
    pair.pass(1);
    assert!(pair.reported(A, |event| matches!(event, Event::IkeRekeyed { .. })));
    pair.pass(15).assert_ike(1);
    pair.assert_children(1);
    pair.end();
}

#[test]
fn a_replaced_child_that_the_kernel_drops_is_not_lost() {
    let mut pair = Story::new(&[], &[], Mishap::None, 0, false).pair();
    let key = pair.inbound(A);
    begin(&mut pair, B, RekeyChild);
    pair.deliver(0);
    pair.sides[A].kernel.sas.remove(&(key.spi.0, key.dst));
    pair.input(A, Input::Expire(Expire { key, hard: true }));
    pair.pass(15).assert_children(1);
    assert!(!pair.reported(A, |event| matches!(event, Event::ChildDeleted { .. })));
    pair.end();
}

#[test]
fn the_end_of_a_replaced_ike_sa_that_nobody_acknowledges_is_no_news() {
    let mut pair = Story::new(&[], &[], Mishap::None, 0, false).pair();
    begin(&mut pair, A, RekeyIke);
    pair.deliver(0);
    pair.deliver(0);
    assert_eq!(pair.flying.len(), 1, "the deletion of the old one");
    let old = oakd::wire::Header::parse(&pair.flying.remove(0).octets).unwrap().initiator;
    pair.network = Box::new(move |_, datagram| {
        let header = oakd::wire::Header::parse(&datagram.octets).unwrap();
        if header.initiator == old { Fate::Lose } else { Fate::Deliver }
    });
    pair.pass(60);
    assert!(!pair.reported(A, |event| matches!(event, Event::NoAnswer { .. })));
    pair.assert_children(1);
}
