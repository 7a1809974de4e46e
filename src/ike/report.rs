//! What the operator is told: what there is to tell, in one place. `words` has the sentences, `level` how
//! much each matters, `explained` takes failures apart, `measure` says how much of it is logged.

pub mod explained;
mod level;
mod measure;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use explained::Explained;
pub use level::concerns;
pub use measure::Measure;

use super::auth::Rejection;
use crate::conf::PolicyName;

/// One thing that happened: about whom, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The peer's address, where one is concerned.
    pub peer: Option<SocketAddr>,
    /// The policy, where it is known.
    pub policy: Option<PolicyName>,
    /// Who the peer says it is, or should be, where that is known.
    pub identity: Option<String>,
    /// What happened.
    pub event: Event,
}

/// How much a report matters; in the order of syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Something does not work and needs a person.
    Error,
    /// Something that a person wants to know: up, down, refused.
    Notice,
    /// The normal course of things.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Each message.
    Trace,
}

/// Whether a message came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// A failure to agree: what each side offered and the one thing that did not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// What was negotiated: "IKE proposal", "child proposal", "traffic selectors", ….
    pub about: String,
    /// What our policy allows, a line each.
    pub ours: Vec<String>,
    /// What the peer offered, a line each.
    pub theirs: Vec<String>,
    /// The item that did not match.
    pub mismatch: String,
    /// What to change, on which side.
    pub advice: String,
}

/// Everything that is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A configuration took effect.
    Configured {
        /// How many policies it has.
        policies: usize,
    },
    /// We call a peer.
    Initiating,
    /// An IKE SA stands.
    IkeEstablished {
        /// Both SPIs, initiator's first.
        spis: (String, String),
        /// Our identity.
        local_id: String,
        /// The peer's.
        remote_id: String,
        /// The suite.
        suite: String,
    },
    /// An IKE SA took another's place.
    IkeRekeyed {
        /// Both SPIs of the new one.
        spis: (String, String),
    },
    /// An IKE SA is gone.
    IkeDeleted {
        /// Why.
        why: Gone,
    },
    /// A child SA stands in the kernel.
    ChildEstablished {
        /// SPI inbound, outbound.
        spis: (String, String),
        /// The suite.
        suite: String,
        /// Its flows.
        flows: Vec<String>,
    },
    /// A child SA took another's place.
    ChildRekeyed {
        /// SPI inbound, outbound.
        spis: (String, String),
        /// Inbound SPI of the one replaced; empty if that is gone already.
        old: String,
    },
    /// A child SA is gone.
    ChildDeleted {
        /// SPI inbound, outbound.
        spis: (String, String),
        /// Why.
        why: Gone,
    },
    /// The peer was given addresses.
    AddressesGiven {
        /// Which.
        addresses: Vec<String>,
    },
    /// The peer gave us addresses.
    AddressesTaken {
        /// Which.
        addresses: Vec<String>,
        /// Whom to ask for names.
        name_servers: Vec<String>,
        /// The interface that takes them.
        iface: Option<String>,
    },
    /// The two sides could not agree.
    Disagreed(Box<Disagreement>),
    /// The peer refused, by a notification.
    Refused {
        /// What was asked for.
        what: String,
        /// The notification.
        notify: String,
        /// What we had offered, a line each.
        offered: Vec<String>,
        /// What to look at.
        advice: String,
    },
    /// The peer's proof of identity is wrong.
    PeerNotAuthenticated {
        /// Who it says it is.
        identity: String,
    },
    /// The peer's proof of identity does not decrypt, and with it who it says it is (IKEv1, where the
    /// pre-shared key makes all keys).
    ProofUnreadable {
        /// Our identity.
        local_id: String,
        /// Who the peer should be, where that is known.
        remote_id: Option<String>,
        /// What came out.
        why: String,
    },
    /// The peer proved by a key or certificate who it is.
    Authenticated {
        /// Who it is.
        identity: String,
        /// By what.
        by: String,
    },
    /// A user logged in after phase 1.
    LoggedIn {
        /// The name.
        user: String,
        /// Whether it is the peer who did, rather than we.
        peer: bool,
    },
    /// Nobody logged in. The password is not told.
    LoginFailed {
        /// The name, if one was said.
        user: String,
        /// Why.
        why: String,
    },
    /// There were too many wrong passwords: for a while, whoever tries another one waits.
    TooManyTries {
        /// The user whose password is tried now.
        user: String,
        /// From where.
        address: IpAddr,
    },
    /// The peer's signature or certificate is not taken.
    PeerRejected {
        /// Who it says it is.
        identity: String,
        /// Why.
        why: Rejection,
    },
    /// No policy is for this peer.
    NoPolicy {
        /// What was looked for.
        wanted: String,
        /// The policies that could have been meant, each with the reason why it was not.
        candidates: Vec<String>,
    },
    /// A policy names no group that can be computed here.
    NoGroup {
        /// Those that it names.
        groups: Vec<String>,
    },
    /// Nothing that a policy of IKEv1 names for phase 1 can be computed here.
    NothingComputed {
        /// What is missing, of each suite.
        why: Vec<String>,
    },
    /// The peer answers in the other version of the protocol.
    OtherVersion {
        /// The version that the policy is for.
        ours: u8,
        /// The version that the peer answers in.
        theirs: u8,
    },
    /// The peer does not answer.
    NoAnswer {
        /// To what.
        exchange: String,
        /// How often it was sent.
        sent: u32,
    },
    /// A negotiation will be tried again.
    WillRetry {
        /// After how long.
        after: Duration,
    },
    /// A negotiation stopped half way.
    HalfOpenExpired {
        /// What the peer announced that is not known here, and that it may insist on.
        unmet: Option<String>,
    },
    /// The peer broke the protocol.
    Misbehaved {
        /// How.
        what: String,
    },
    /// A datagram was dropped.
    Dropped {
        /// Why.
        why: String,
    },
    /// The kernel did not do what it was asked.
    KernelFailed {
        /// What it was asked.
        request: String,
        /// Its reason.
        reason: String,
    },
    /// The holder of the secrets did not answer a question.
    QuestionRefused {
        /// Its reason.
        reason: String,
    },
    /// A policy names nothing that the kernel can do.
    KernelIncapable {
        /// What the policy names.
        wanted: Vec<String>,
        /// What the kernel can do.
        able: String,
        /// Its own remarks.
        remarks: Vec<String>,
    },
    /// The traffic of a policy cannot be put into flows of the kernel: it passes unprotected.
    NotSelectable {
        /// Why.
        why: String,
    },
    /// A NAT was found on the way.
    NatFound {
        /// Before us.
        local: bool,
        /// Before the peer.
        remote: bool,
    },
    /// A NAT was found on the way, and the policy forbids that.
    NatForbidden,
    /// Messages and packets go by another path.
    PathMoved {
        /// Our address and the peer's, before.
        from: (SocketAddr, SocketAddr),
        /// Our address and the peer's, now.
        to: (SocketAddr, SocketAddr),
    },
    /// Another path is tried: the one so far is gone, or does not answer.
    PathTried {
        /// Our address and the peer's, so far.
        from: (SocketAddr, SocketAddr),
        /// Our address and the peer's, to be.
        to: (SocketAddr, SocketAddr),
    },
    /// A NAT before us gave us another address or port; the peer is told.
    Remapped,
    /// The peer says that it is elsewhere, and could not be reached there.
    PathNotProved {
        /// Our address and the peer's.
        path: (SocketAddr, SocketAddr),
    },
    /// The peer does not want to be reached by this path.
    PathRefused {
        /// The notification.
        notify: String,
        /// Our address and the peer's.
        path: (SocketAddr, SocketAddr),
    },
    /// The kernel cannot move a child SA as it is.
    MovedByRekey {
        /// Why.
        reason: String,
    },
    /// The first message of an IKE SA in fragments.
    Fragmented {
        /// Whether it came or went.
        way: Way,
    },
    /// Large datagrams do not get through.
    FragmentsShrink {
        /// How large they are from now on.
        octets: u16,
    },
    /// The peer forgot every SA that it had with us.
    InitialContact {
        /// How many of ours went.
        removed: usize,
    },
    /// Somebody says, by a message that nothing protects, that the peer has forgotten an IKE SA.
    Doubted {
        /// Or a child SA of it.
        child: bool,
    },
    /// The peer refuses a child SA with, or without, a key exchange of its own: it is asked for again the
    /// other way, as `childsa` leaves that open.
    KeyExchangeTurned {
        /// The group that it is asked for with now.
        group: Option<String>,
    },
    /// The traffic of a new child SA went to another peer until now.
    FlowCovered {
        /// Which.
        flow: String,
        /// The other's policy and identity.
        other: String,
    },
    /// Both sides opened at once; one of the two IKE SAs will go.
    Superseded,
    /// Something went wrong within; nothing that the peer or the operator did.
    Internal {
        /// What.
        what: String,
    },
    /// A message, for the ladder.
    Message {
        /// Which way.
        way: Way,
        /// From (or to) which address of ours.
        local: SocketAddr,
        /// One line of its payloads.
        summary: String,
        /// What each payload says.
        payloads: Vec<String>,
    },
    /// Everything is taken down.
    Finished,
}

/// Why an SA is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gone {
    /// The peer deleted it.
    ByPeer,
    /// The operator did.
    ByOperator,
    /// The configuration no longer wants it.
    ByConfiguration,
    /// Its lifetime ended.
    Expired,
    /// A new one took its place.
    Replaced,
    /// The peer does not answer.
    PeerVanished,
    /// It could not be completed.
    Failed,
    /// The peer started anew and knows nothing of it.
    Forgotten,
    /// The daemon ends.
    Shutdown,
}
