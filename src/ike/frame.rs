//! What an IKE SA of either version has: addresses, policy, children, what is known of the way.

use std::net::SocketAddr;
use std::sync::Arc;

use super::child::{Child, ChildId, Stage};
use super::core::{Core, Part, name_of};
use super::event::{Cpi, KernelAnswer, Time};
use super::inner::{Configured, Inner};
use super::natt::{Nat, Path};
use super::proposal::{self, Kind};
use super::report::{Disagreement, Event, Gone};
use super::selector::{Hosts, unserved};
use super::table::{Keys as IndexKeys, SaId};
use super::v2::fragment::Fragments;
use super::v2::mobike::Mobility;
use super::window::Window;
use crate::conf::{Policy, Proposal, counted};
use crate::wire::{IkeSpi, Spi};

/// The most child SAs that a peer may ask for in one IKE SA, and how many more for each flow of its
/// policies: so that each may have a successor, and a twin where both sides ask at once.
const MOST_CHILDREN: (usize, usize) = (256, 4);

/// What an IKE SA of either version has.
#[derive(Debug)]
pub struct Frame {
    /// Its name: the SPI that we chose.
    pub id: SaId,
    /// The peer's SPI; zero as long as it is not known.
    pub peer_spi: IkeSpi,
    /// Whether we initiated it.
    pub initiator: bool,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The policy: at first by address, with IKE_AUTH by identity.
    pub policy: Arc<Policy>,
    /// We initiated while there was no other IKE SA with this peer (INITIAL_CONTACT).
    pub first_contact: bool,
    /// CPIs that the kernel reserved, for our negotiation and for the peer's.
    pub cpis: [Option<Cpi>; 2],
    /// The IKE SA whose place it takes when its children stand (reauthentication).
    pub succeeds: Option<SaId>,
    /// NATs on the way.
    pub nat: Nat,
    /// How messages are cut, and what came in pieces.
    pub fragments: Fragments,
    /// What is known where the ends may move (RFC 4555).
    pub mobility: Option<Box<Mobility>>,
    /// Where the peer's request at work came by, if it is another path than ours: the answer goes back
    /// there (RFC 7296 §2.11).
    pub asked_by: Option<Box<Path>>,
    /// The peer has proved who it is.
    pub is_authenticated: bool,
    /// What the configuration payload did.
    pub config: Option<Box<Configured>>,
    /// When it came to be.
    pub created: Time,
    /// By what it is found, as it stands in the table.
    pub keys: IndexKeys,
    /// When it is to be looked at next, as it stands in the timers.
    pub deadline: Option<Time>,
    /// Message IDs, our outstanding request, the last answer.
    pub window: Window,
    /// Its child SAs.
    pub children: Vec<Child>,
    /// It is at its end: leaves the table after the current input.
    pub gone: Option<Gone>,
}

impl Frame {
    /// An IKE SA by which we call a peer; it is told.
    pub fn calling(
        core: &mut Core,
        policy: Arc<Policy>,
        local: SocketAddr,
        remote: SocketAddr,
        first_contact: bool,
    ) -> Self {
        let id = SaId(core.ike_spi());
        let frame = Self { first_contact, ..Self::new(id, true, local, remote, policy, core.now) };
        frame.report(core, Event::Initiating);
        frame
    }

    /// An IKE SA that begins.
    pub fn new(
        id: SaId,
        initiator: bool,
        local: SocketAddr,
        remote: SocketAddr,
        policy: Arc<Policy>,
        now: Time,
    ) -> Self {
        Self {
            id,
            peer_spi: IkeSpi::ZERO,
            initiator,
            local,
            remote,
            policy,
            first_contact: false,
            cpis: [None; 2],
            succeeds: None,
            nat: Nat::default(),
            fragments: Fragments::default(),
            mobility: None,
            asked_by: None,
            is_authenticated: false,
            config: None,
            created: now,
            keys: IndexKeys::default(),
            deadline: None,
            window: Window::default(),
            children: Vec::new(),
            gone: None,
        }
    }

    /// Both SPIs, initiator's first.
    pub fn spis(&self) -> (IkeSpi, IkeSpi) {
        match self.initiator {
            true => (self.id.0, self.peer_spi),
            false => (self.peer_spi, self.id.0),
        }
    }

    /// Both SPIs, printed.
    pub fn printed_spis(&self) -> (String, String) {
        let (initiator, responder) = self.spis();
        (initiator.to_string(), responder.to_string())
    }

    /// Where messages go.
    pub fn path(&self) -> Path {
        Path { local: self.local, remote: self.remote }
    }

    /// Where the peer's request at work came by.
    pub fn request_path(&self) -> Path {
        self.asked_by.as_deref().copied().unwrap_or(self.path())
    }

    /// The outer addresses.
    pub fn hosts(&self) -> Hosts {
        let inner = self.config.as_ref().map_or(Inner::Outer, |config| config.inner);
        Hosts { local: self.local.ip(), remote: self.remote.ip(), inner }
    }

    /// Gives back what the configuration payload brought, unless a successor has it.
    pub fn give_back(&mut self, core: &mut Core) {
        if let Some(mut config) = self.config.take() {
            config.give_back(core);
        }
    }

    /// What an operator may want to know of the path, in words.
    pub fn path_remarks(&self) -> Vec<String> {
        let nat = match (self.nat.local, self.nat.remote) {
            (true, true) => Some("NAT before both sides"),
            (true, false) => Some("NAT before us"),
            (false, true) => Some("NAT before the peer"),
            (false, false) if self.policy.force_natt => Some("UDP encapsulation forced"),
            (false, false) => None,
        };
        let fragments = self.fragments.size.map(|size| {
            let octets = size.octets(self.local.is_ipv4());
            let used = match self.fragments.used {
                (false, false) => "",
                (true, false) => ", used out",
                (false, true) => ", used in",
                (true, true) => ", used both ways",
            };
            format!("fragments of {octets} octets{used}")
        });
        let mobility = self.mobility.as_ref().map(|mobility| {
            let further = mobility.peers.len();
            let further = counted(further, "further address", "further addresses");
            let who = if mobility.leads { "we decide" } else { "the peer decides" };
            format!("may move ({who}; {further} of the peer)")
        });
        nat.map(str::to_owned).into_iter().chain(mobility).chain(fragments).collect()
    }

    /// The ports of UDP encapsulation (ours, the peer's), where it is to be used.
    pub fn encap(&self) -> Option<(u16, u16)> {
        (self.nat.found() || self.policy.force_natt)
            .then_some((self.local.port(), self.remote.port()))
    }

    /// The places of the policy's flows that no child SA carries, each with whether it is IPv4.
    pub fn unserved(&self, hosts: Hosts) -> Vec<(usize, bool)> {
        let standing = self.children.iter().filter(|child| child.stage != Stage::Ending);
        unserved(&self.policy, hosts, standing.map(|child| &child.agreement.traffic))
    }

    /// A policy's child proposals that the kernel can do; a report if there are none.
    pub fn feasible(&self, core: &mut Core, policy: &Policy) -> Option<Vec<Proposal>> {
        let able = core.able.as_ref();
        let feasible = proposal::feasible(&policy.child_proposals, able);
        let able_around =
            policy.around.is_none_or(|id| able.is_none_or(|it| it.integrity.contains(&id)));
        if !feasible.is_empty() && able_around {
            return Some(feasible);
        }
        let kind = Kind::Child(policy.protocol);
        let wanted = proposal::offer(&policy.child_proposals, kind, &Spi::None);
        let mut wanted = proposal::printed(&wanted);
        wanted.extend(policy.around.map(|id| format!("AH {id}")));
        let remarks = able.map(|able| able.remarks.clone()).unwrap_or_default();
        let able = able.map(proposal::printed_capabilities).unwrap_or_default();
        self.report(core, Event::KernelIncapable { wanted, able, remarks });
        None
    }

    /// One more child SA. Most IKE SAs have just one: no room is kept for others.
    pub fn adopt(&mut self, child: Child) {
        self.children.reserve_exact(1);
        self.children.push(child);
    }

    /// Children that came to be since are to have successors at once.
    pub fn renew_since(&mut self, since: Time, now: Time) {
        let up = self.children.iter_mut().filter(|child| child.stage == Stage::Up);
        up.filter(|child| child.created >= since).for_each(|child| child.soft = Some(now));
    }

    /// Why the peer may not have one more child SA of policies with so many flows, if it may not.
    pub fn is_full(&self, flows: usize) -> Option<Box<Disagreement>> {
        let (most, for_flow) = MOST_CHILDREN;
        let most = flows.saturating_mul(for_flow).saturating_add(most);
        (self.children.len() >= most).then(|| {
            Box::new(Disagreement {
                about: "one more child SA".into(),
                ours: vec![format!("{most} in an IKE SA with {flows} flows")],
                theirs: vec!["one more".into()],
                mismatch: format!("there are {} already", self.children.len()),
                advice: "see why the peer asks for so many and does not delete those before".into(),
            })
        })
    }

    /// The child SA at this place goes.
    pub fn part_with(&mut self, at: usize) -> Child {
        let child = self.children.remove(at);
        self.children.shrink_to_fit();
        child
    }

    /// Reports about this SA.
    pub fn report(&self, core: &mut Core, event: Event) {
        let name = name_of(Some(&self.policy));
        core.report(Some(self.remote), name.as_ref(), event);
    }

    /// The reason, reported, if the kernel did not take a part of a child in.
    pub fn kernel_failed(
        &self,
        core: &mut Core,
        id: ChildId,
        part: Part,
        answer: KernelAnswer,
    ) -> Option<String> {
        let KernelAnswer::Failed(reason) = answer else { return None };
        let child = self.children.iter().find(|child| child.id == id);
        let request = child.map_or("install a child SA that is gone".into(), |it| it.part(part));
        self.report(core, Event::KernelFailed { request, reason: reason.clone() });
        Some(reason)
    }

    /// Takes the SA and its children down, without a word to the peer.
    pub fn close(&mut self, core: &mut Core, why: Gone) {
        if self.gone.is_some() {
            return;
        }
        self.gone = Some(why);
        for cpi in std::mem::take(&mut self.cpis).into_iter().flatten() {
            core.drop_cpi(cpi, self.remote.ip(), self.local.ip());
        }
        for mut child in std::mem::take(&mut self.children) {
            child.remove(core);
            if why != Gone::Replaced {
                let spis = child.printed_spis();
                self.report(core, Event::ChildDeleted { spis, why });
            }
        }
    }
}
