//! An established ISAKMP SA: what it does, and what time does to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::Task;
use super::children::{newest, policy_of, remove};
use super::keys::Keys;
use super::message::fresh_id;
use super::method::Client;
use super::protect::Iv;
use super::quick::{Quick, received_on};
use super::transaction::Transactions;
use super::vendor::Abilities;
use crate::conf::{Lifetime, Phase1, Version, Xauth};
use crate::crypto::IkeSuite;
use crate::ike::child::{Child, Stage};
use crate::ike::core::{Core, Deed};
use crate::ike::event::{Output, Time};
use crate::ike::frame::Frame;
use crate::ike::natt::KEEPALIVE;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::{Event, Gone};
use crate::ike::sa::{Standing, Who};
use crate::ike::timer::{earliest, jitter, soft};
use crate::wire::MessageId;
use crate::wire::v2::Id;

/// How long what was replaced is kept: the peer may still use it.
pub const GRACE: Duration = Duration::from_secs(5);

/// The pause before one with a successor, where Quick Modes still go on, is to end, and before one that lost
/// its successor opens another.
const AGAIN: Duration = Duration::from_secs(1);

/// How long an ISAKMP SA outlives its lifetime while a successor is waited for.
const OVERTIME: Duration = Duration::from_secs(30);

/// The pause before something that failed is tried again.
pub const PAUSE: Duration = Duration::from_secs(60);

/// How many message IDs are remembered, against replays: those of a day in which each side asks every five
/// seconds whether the other lives. Four octets each, and only as many as there were.
const REMEMBERED: usize = 1 << 16;

/// An established ISAKMP SA.
#[derive(Debug)]
pub struct Established {
    /// Its keys.
    pub keys: Keys,
    /// Its algorithms.
    pub suite: IkeSuite,
    /// The last block of phase 1, from which the exchanges of phase 2 start.
    pub iv: Iv,
    /// We had the last word in phase 1, and the peer has not shown yet that it takes that.
    pub unbelieved: bool,
    /// What the peer can do.
    pub abilities: Abilities,
    /// Our identity and the peer's.
    pub ids: Box<(Id, Id)>,
    /// When it became so.
    pub since: Time,
    /// When it is to be rekeyed.
    pub rekey_at: Option<Time>,
    /// When it ends whatever happens.
    pub ends_at: Option<Time>,
    /// How many octets its keys may still protect, where the peer wants a limit.
    pub octets_left: Option<u64>,
    /// When we delete it because another does its work.
    pub superseded_at: Option<Time>,
    /// When the peer last proved to be alive.
    pub heard: Time,
    /// When we last sent something.
    pub sent: Time,
    /// The Quick Modes under way, and those that were just now.
    pub exchanges: Vec<Box<Quick>>,
    /// Message IDs that are used up, the peer's and our own.
    pub used: VecDeque<MessageId>,
    /// The sequence number of our next R-U-THERE.
    pub sequence: u32,
    /// Our R-U-THERE that waits for its answer.
    pub probe: Option<Box<Outstanding>>,
    /// Our answer to the peer's last R-U-THERE, under the message ID of that.
    pub acked: Option<Box<(MessageId, Vec<u8>)>>,
    /// The kernel was asked whether traffic proves the peer alive.
    pub asked_traffic: bool,
    /// Another IKE SA has taken over the child SAs.
    pub taken_over: bool,
    /// The peer deleted it.
    pub deleted: bool,
    /// The transaction exchanges under way.
    pub transactions: Transactions,
    /// When the peer is told its address unasked.
    pub push_at: Option<Time>,
    /// Who logged in, and under which name.
    pub login: Option<(Client, String)>,
    /// The peer began anew.
    pub initial_contact: bool,
    /// The child SAs of the policies that go over it are still to be asked for.
    pub fresh: bool,
}

/// What is left of an ISAKMP SA that was deleted while its child SAs live on (RFC 2408 §2.1: they do
/// not depend on it). The next one with this peer takes them over.
#[derive(Debug)]
pub struct Orphaned {
    /// Who the peer is.
    pub peer: Who,
}

impl Orphaned {
    /// Children reached their lifetimes.
    pub fn timeout(frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let ended = |child: &Child| child.hard.or(child.soft).is_none_or(|at| at <= now);
        while let Some(at) = frame.children.iter().position(ended) {
            remove(frame, core, at, Gone::Expired);
        }
        if frame.children.is_empty() {
            frame.close(core, Gone::Replaced);
        }
    }
}

impl Established {
    /// Phase 1 is done. Nobody takes note yet: see [`Established::announce`].
    pub fn begin(
        frame: &mut Frame,
        core: &mut Core,
        (keys, iv, suite): (Keys, Iv, IkeSuite),
        abilities: Abilities,
        ids: Box<(Id, Id)>,
        lifetime: Lifetime,
        initial_contact: bool,
    ) -> Box<Self> {
        let now = core.now;
        let seconds = (lifetime.seconds != 0).then(|| Duration::from_secs(lifetime.seconds.into()));
        let logs_in = frame.policy.ike1.xauth == Some(Xauth::Peer);
        let random = &mut *core.random;
        let state = Self {
            keys,
            suite,
            iv,
            unbelieved: (frame.policy.version == Version::V1(Phase1::Main)) != frame.initiator,
            abilities,
            ids,
            since: now,
            // The initiator first: the responder only if nothing happened, and not if the peer is
            // one who logs in: it cannot be called.
            rekey_at: seconds.filter(|_| frame.initiator || !logs_in).map(|hard| {
                match frame.initiator {
                    true => now.after(soft(hard, random)),
                    false => now.after(hard.saturating_sub(hard / 20)),
                }
            }),
            ends_at: seconds.map(|hard| now.after(hard).after(OVERTIME)),
            octets_left: (lifetime.bytes != 0).then_some(lifetime.bytes),
            superseded_at: None,
            heard: now,
            sent: now,
            exchanges: Vec::new(),
            used: VecDeque::new(),
            sequence: u32::try_from(random.below(1 << 30)).unwrap_or(1),
            probe: None,
            acked: None,
            asked_traffic: false,
            taken_over: false,
            deleted: false,
            transactions: Transactions::default(),
            push_at: None,
            login: None,
            initial_contact,
            fresh: frame.initiator,
        };
        Box::new(state)
    }

    /// Whoever had to prove something has done so: it is established.
    pub fn announce(self: Box<Self>, frame: &mut Frame, core: &mut Core) -> super::Stage {
        core.stats.established += 1;
        let event = Event::IkeEstablished {
            spis: frame.printed_spis(),
            local_id: self.ids.0.to_string(),
            remote_id: self.ids.1.to_string(),
            suite: self.suite.to_string(),
        };
        frame.report(core, event);
        core.deeds.push_back(Deed::Established(frame.id, self.initial_contact));
        super::Stage::Established(self)
    }

    /// What is known of it.
    pub fn standing(&self) -> Standing<'_> {
        Standing {
            ids: &self.ids,
            user: self.user(),
            since: self.since,
            rekey_at: self.rekey_at,
            ending: self.deleted,
            replaced: self.taken_over,
        }
    }

    /// The user as whom the peer logged in.
    pub fn user(&self) -> Option<&str> {
        match &self.login {
            Some((Client::Peer, user)) => Some(user),
            _ => None,
        }
    }

    /// Does something now.
    pub fn start(&mut self, frame: &mut Frame, core: &mut Core, task: Task) {
        match task {
            Task::RekeyChild(id) => {
                if self.taken_over || !newest(frame).contains(&id) {
                    return;
                }
                let child = frame.children.iter_mut().find(|child| child.id == id);
                let Some(child) = child else { return };
                child.stage = Stage::Rekeying;
                let wanted = child.agreement.traffic.clone();
                let policy = policy_of(frame, core, &wanted);
                self.offer(frame, core, &policy, wanted, Some(id));
            }
            Task::DeleteChild(id, why) => {
                let at = frame.children.iter().position(|child| child.id == id);
                let Some(at) = at else { return };
                let ends = received_on(&frame.children[at].agreement);
                self.send_deletes(frame, core, &[ends]);
                remove(frame, core, at, why);
            }
            Task::DeleteIke(why) => {
                if !matches!(why, Gone::Replaced | Gone::Expired) {
                    self.delete_children(frame, core);
                }
                self.abandon(frame, core);
                self.send_delete_ike(frame, core);
                match why {
                    // They go over to another, or wait for one.
                    Gone::Replaced | Gone::Expired => {
                        self.deleted = true;
                        core.deeds.push_back(Deed::Bequeath(frame.id));
                    }
                    why => frame.close(core, why),
                }
            }
        }
    }

    /// Another IKE SA is about to have the child SAs. Quick Modes that the peer knows of come to their end here.
    pub fn replaced(&mut self, frame: &mut Frame, core: &mut Core) {
        self.taken_over = true;
        self.rekey_at = None;
        let all = std::mem::take(&mut self.exchanges);
        let (unknown, known) = all.into_iter().partition(|it| it.is_unknown());
        self.exchanges = unknown;
        self.abandon(frame, core);
        self.exchanges = known;
        // Whoever opened the new one deletes the old one; should that not come, it ends anyway.
        self.ends_at = Some(core.now.after(OVERTIME * 2));
    }

    /// What took its place went before it did: it has child SAs again, until there is yet another.
    pub fn serve_again(&mut self, frame: &Frame, core: &Core) {
        if std::mem::take(&mut self.taken_over) {
            self.superseded_at = None;
            let pause = if frame.initiator { AGAIN } else { OVERTIME / 2 };
            self.rekey_at = Some(core.now.after(pause));
        }
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame, core: &Core) -> Option<Time> {
        let interval = self.interval(core);
        let own = [
            self.rekey_at,
            self.ends_at,
            self.superseded_at,
            self.push_at,
            self.transactions.next_timeout(),
            self.probe.as_ref().map(|probe| probe.deadline()),
            interval.filter(|_| self.is_idle()).map(|interval| self.heard.after(interval)),
            self.next_keepalive(frame),
        ];
        let children = frame.children.iter().map(|child| child.next_timeout());
        let exchanges = self.exchanges.iter().map(|it| it.next_timeout());
        earliest(own.into_iter().chain(children).chain(exchanges))
    }

    /// Time has passed.
    pub fn timeout(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let due = |time: &mut Option<Time>| time.take_if(|time| *time <= now).is_some();
        if due(&mut self.superseded_at) {
            if self.exchanges.iter().all(|it| it.is_done()) {
                return self.start(frame, core, Task::DeleteIke(Gone::Replaced));
            }
            self.superseded_at = Some(now.after(AGAIN));
        }
        if due(&mut self.rekey_at) {
            let again = now.after(jitter(PAUSE, &mut *core.random));
            self.rekey_at = self.ends_at.filter(|end| *end > again).map(|_| again);
            core.deeds.push_back(Deed::Reopen(frame.id));
        }
        if due(&mut self.ends_at) {
            return match self.taken_over {
                true => self.start(frame, core, Task::DeleteIke(Gone::Replaced)),
                false => self.start(frame, core, Task::DeleteIke(Gone::Expired)),
            };
        }
        self.keep_mapping(frame, core);
        if !self.check_alive(frame, core) {
            return;
        }
        self.check_configuration(frame, core);
        self.check_exchanges(frame, core);
        if frame.gone.is_none() {
            self.check_children(frame, core);
        }
    }

    fn next_keepalive(&self, frame: &Frame) -> Option<Time> {
        frame.nat.local.then(|| self.sent.after(KEEPALIVE))
    }

    /// When it is to be looked at next while a transaction is all that goes on.
    pub fn next_transaction(&self, frame: &Frame) -> Option<Time> {
        earliest([self.transactions.next_timeout(), self.next_keepalive(frame)])
    }

    /// A NAT in front of us is not to forget its mapping (RFC 3948 §4).
    pub fn keep_mapping(&mut self, frame: &Frame, core: &mut Core) {
        if self.next_keepalive(frame).is_some_and(|at| at <= core.now) {
            self.sent = core.now;
            let (local, remote) = (frame.local, frame.remote);
            core.outputs.push_back(Output::Keepalive { local, remote });
        }
    }

    /// Its keys protected so many octets more. The initiator replaces it at its limit, and it ends soon after.
    pub fn count(&mut self, frame: &Frame, now: Time, octets: usize) {
        let Some(left) = &mut self.octets_left else { return };
        *left = left.saturating_sub(octets.try_into().unwrap_or(u64::MAX));
        if *left == 0 {
            self.octets_left = None;
            self.rekey_at = frame.initiator.then_some(now).or(self.rekey_at);
            self.ends_at = earliest([self.ends_at, Some(now.after(OVERTIME))]);
        }
    }

    /// A message ID is used up.
    pub fn remember(&mut self, id: MessageId) {
        if self.used.len() >= REMEMBERED {
            self.used.pop_front();
        }
        self.used.push_back(id);
    }

    /// A message ID for an exchange of ours.
    pub fn own_id(&self, core: &mut Core) -> MessageId {
        loop {
            let id = fresh_id(core);
            if self.exchanges.iter().all(|it| it.id != id) {
                return id;
            }
        }
    }

    /// Gives back whatever is reserved, before the SA goes. Children that were to be replaced are to be by
    /// whoever has them next.
    pub fn abandon(&mut self, frame: &mut Frame, core: &mut Core) {
        for exchange in std::mem::take(&mut self.exchanges) {
            exchange.abandon(core);
            let mut children = frame.children.iter_mut();
            if let Some(old) = children.find(|child| exchange.replaces(child.id)) {
                old.resume(core.now);
            }
        }
    }
}
