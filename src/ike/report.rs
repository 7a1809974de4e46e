//! What the operator is told: every sentence in one place.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
        /// Inbound SPI of the one replaced.
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
    /// The peer proved by a key or certificate who it is.
    Authenticated {
        /// Who it is.
        identity: String,
        /// By what.
        by: String,
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
    HalfOpenExpired,
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
    /// A NAT was found on the way.
    NatFound {
        /// Before us.
        local: bool,
        /// Before the peer.
        remote: bool,
    },
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

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gone::ByPeer => "deleted by the peer",
            Gone::ByOperator => "deleted by the operator",
            Gone::ByConfiguration => "no longer configured",
            Gone::Expired => "lifetime ended",
            Gone::Replaced => "replaced by a newer one",
            Gone::PeerVanished => "peer does not answer",
            Gone::Failed => "could not be completed",
            Gone::Forgotten => "peer started anew",
            Gone::Shutdown => "shutting down",
        })
    }
}

impl Report {
    /// How much it matters.
    pub fn level(&self) -> Level {
        use Event::{
            AddressesGiven, AddressesTaken, Authenticated, ChildDeleted, ChildEstablished,
            ChildRekeyed, Configured, Disagreed, Dropped, Finished, Fragmented, FragmentsShrink,
            HalfOpenExpired, IkeDeleted, IkeEstablished, IkeRekeyed, InitialContact, Initiating,
            Internal, KernelFailed, KernelIncapable, Message, Misbehaved, MovedByRekey, NatFound,
            NoAnswer, NoPolicy, OtherVersion, PathMoved, PathNotProved, PathRefused, PathTried,
            PeerNotAuthenticated, PeerRejected, QuestionRefused, Refused, Remapped, Superseded,
            WillRetry,
        };
        match self.event {
            Disagreed(_)
            | Refused { .. }
            | PeerNotAuthenticated { .. }
            | PeerRejected { .. }
            | OtherVersion { .. }
            | KernelFailed { .. }
            | QuestionRefused { .. }
            | KernelIncapable { .. }
            | Internal { .. } => Level::Error,
            IkeEstablished { .. }
            | IkeDeleted { .. }
            | ChildEstablished { .. }
            | ChildDeleted { .. }
            | NoAnswer { .. }
            | NoPolicy { .. }
            | PathMoved { .. }
            | Remapped
            | PathNotProved { .. }
            | PathRefused { .. }
            | Misbehaved { .. } => Level::Notice,
            Configured { .. }
            | Authenticated { .. }
            | AddressesGiven { .. }
            | AddressesTaken { .. }
            | Initiating
            | IkeRekeyed { .. }
            | ChildRekeyed { .. }
            | WillRetry { .. }
            | HalfOpenExpired
            | NatFound { .. }
            | Fragmented { .. }
            | PathTried { .. }
            | MovedByRekey { .. }
            | FragmentsShrink { .. }
            | InitialContact { .. }
            | Superseded
            | Finished => Level::Info,
            Dropped { .. } => Level::Debug,
            Message { .. } => Level::Trace,
        }
    }

    /// Whether it concerns whom an operator names: by address, identity or policy.
    pub fn concerns(&self, whom: &str) -> bool {
        let (policy, identity) = (self.policy.as_ref(), self.identity.as_deref());
        concerns(whom, self.peer, policy, identity)
    }

    /// Whether it explains why a negotiation failed.
    pub fn explains_failure(&self) -> bool {
        self.level() == Level::Error
            || matches!(
                self.event,
                Event::NoAnswer { .. }
                    | Event::NoPolicy { .. }
                    | Event::HalfOpenExpired
                    | Event::Misbehaved { .. }
            )
    }
}

/// Whether a peer is the one that an operator names: by address, identity (with or without its type)
/// or policy.
pub fn concerns(
    whom: &str,
    peer: Option<SocketAddr>,
    policy: Option<&PolicyName>,
    identity: Option<&str>,
) -> bool {
    let address = whom.parse().ok();
    let named = |identity: &str| {
        let bare = identity.split_once(' ').map_or(identity, |(_, bare)| bare);
        identity.eq_ignore_ascii_case(whom) || bare.eq_ignore_ascii_case(whom)
    };
    policy.is_some_and(|policy| policy.0 == whom)
        || address.is_some() && peer.map(|peer| peer.ip()) == address
        || identity.is_some_and(named)
}

/// A failure taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// What did not come about.
    pub what: String,
    /// What our side wants or offered, a line each.
    pub ours: Vec<String>,
    /// What the peer wants or offers, a line each.
    pub theirs: Vec<String>,
    /// The one thing that stood in the way.
    pub reason: String,
    /// What to change, on which side.
    pub advice: String,
}

impl Event {
    /// What failed and why, part by part.
    pub fn explained(&self) -> Explained {
        let of = |what: &str, reason: String, advice: &str| Explained {
            what: what.into(),
            reason,
            advice: advice.into(),
            ..Explained::default()
        };
        match self {
            Event::Disagreed(it) => Explained {
                what: format!("no agreement on {}", it.about),
                ours: it.ours.clone(),
                theirs: it.theirs.clone(),
                reason: it.mismatch.clone(),
                advice: it.advice.clone(),
            },
            Event::Refused { what, notify, offered, advice } => Explained {
                what: format!("the peer refused {what}"),
                ours: offered.clone(),
                theirs: vec![format!("{notify}; what it wants instead it does not say")],
                reason: notify.clone(),
                advice: advice.clone(),
            },
            Event::NoAnswer { exchange, .. } => {
                of("the peer does not answer", self.to_string(), silence_advice(exchange))
            }
            Event::NoPolicy { .. } => of(
                "no policy is for this peer",
                self.to_string(),
                "compare `local` and `peer` of the policies with these addresses; where the peer's \
                 address changes, write `peer any`",
            ),
            Event::HalfOpenExpired => of(
                "the peer began and did not go on",
                self.to_string(),
                "see the peer's log: it disliked our answer, or did not get it; behind a NAT it goes \
                 on over UDP 4500, which must pass both ways",
            ),
            Event::KernelFailed { .. } => of(
                "the kernel refused",
                self.to_string(),
                "where it is the algorithm, write `childsa` with one that this kernel has",
            ),
            Event::KernelIncapable { wanted, able, .. } => Explained {
                ours: wanted.clone(),
                theirs: vec![format!("(the kernel) {able}")],
                ..of(
                    "no child SA can be proposed",
                    self.to_string(),
                    "write `childsa` with what this kernel can do, on both sides",
                )
            },
            Event::Misbehaved { .. } => of(
                "the peer broke the protocol",
                self.to_string(),
                "nothing here can be changed about it; `oakctl trace` shows the messages",
            ),
            other => of("a negotiation failed", other.to_string(), ""),
        }
    }
}

/// What to look at when nothing comes back.
fn silence_advice(exchange: &str) -> &'static str {
    match exchange {
        "IKE_SA_INIT" => {
            "see whether the peer runs, whether its address is right, and whether UDP 500 passes both \
             ways"
        }
        "IKE_AUTH" => {
            "the peer answered before: see whether UDP 4500 passes (a NAT needs it) and large datagrams \
             with it, and what the peer's log says"
        }
        _ => "the peer was there before: see whether it still runs and has a way to us",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.policy, self.peer) {
            (Some(policy), Some(peer)) => write!(f, "{} ({peer}): ", policy.0)?,
            (Some(policy), None) => write!(f, "{}: ", policy.0)?,
            (None, Some(peer)) => write!(f, "{peer}: ")?,
            (None, None) => (),
        }
        self.event.fmt(f)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Configured { policies } => write!(f, "configured with {policies} policies"),
            Event::Initiating => f.write_str("calling the peer"),
            Event::IkeEstablished { spis, local_id, remote_id, suite } => write!(
                f,
                "IKE SA {}_{} established: {local_id} with {remote_id}, {suite}",
                spis.0, spis.1
            ),
            Event::IkeRekeyed { spis } => write!(f, "IKE SA rekeyed, now {}_{}", spis.0, spis.1),
            Event::IkeDeleted { why } => write!(f, "IKE SA gone: {why}"),
            Event::ChildEstablished { spis, suite, flows } => write!(
                f,
                "child SA in {} out {} established: {}, {suite}",
                spis.0,
                spis.1,
                flows.join(", ")
            ),
            Event::ChildRekeyed { spis, old } => {
                write!(f, "child SA in {old} rekeyed, now in {} out {}", spis.0, spis.1)
            }
            Event::ChildDeleted { spis, why } => {
                write!(f, "child SA in {} out {} gone: {why}", spis.0, spis.1)
            }
            Event::AddressesGiven { addresses } => {
                write!(f, "the peer is given {}", addresses.join(" and "))
            }
            Event::AddressesTaken { addresses, name_servers, iface } => {
                match addresses.is_empty() {
                    true => f.write_str("the peer gives us no address")?,
                    false => write!(f, "the peer gives us {}", addresses.join(" and "))?,
                }
                if !name_servers.is_empty() {
                    write!(f, ", name servers {}", name_servers.join(" and "))?;
                }
                match iface {
                    Some(iface) => write!(f, "; interface {iface} takes it"),
                    None => f.write_str(
                        "; nothing is done with it: name an interface with `iface` to have it set",
                    ),
                }
            }
            Event::Disagreed(it) => write!(
                f,
                "no agreement on {}: {}; we allow [{}], the peer offers [{}]; {}",
                it.about,
                it.mismatch,
                it.ours.join(" | "),
                it.theirs.join(" | "),
                it.advice
            ),
            Event::Refused { what, notify, offered, advice } => {
                write!(f, "the peer refused {what}: {notify}")?;
                if !offered.is_empty() {
                    write!(f, "; we offered [{}]", offered.join(" | "))?;
                }
                write!(f, "; {advice}")
            }
            Event::PeerNotAuthenticated { identity } => write!(
                f,
                "the peer, which calls itself {identity}, could not prove it: the pre-shared keys \
                 of the two sides differ"
            ),
            Event::Authenticated { identity, by } => write!(f, "{identity} proved by {by}"),
            Event::PeerRejected { identity, why } => {
                write!(f, "the peer, which calls itself {identity}, is not accepted: {why}")
            }
            Event::NoPolicy { wanted } => write!(f, "no policy for {wanted}"),
            Event::OtherVersion { ours, theirs } => {
                let word = if *theirs == 1 { "ike" } else { "ikev2" };
                write!(
                    f,
                    "we speak IKEv{ours} to the peer and it answers in IKEv{theirs}; make the rule \
                     an `{word}` rule, or have the peer allow IKEv{ours}"
                )
            }
            Event::NoAnswer { exchange, sent } => {
                write!(f, "no answer to {exchange}, sent {sent} times; peer down or UDP blocked?")
            }
            Event::WillRetry { after } => write!(f, "trying again in {} s", after.as_secs()),
            Event::HalfOpenExpired => f.write_str("the peer did not go on with the negotiation"),
            Event::Misbehaved { what } => write!(f, "the peer broke the protocol: {what}"),
            Event::Dropped { why } => write!(f, "datagram dropped: {why}"),
            Event::KernelFailed { request, reason } => {
                write!(f, "the kernel did not {request}: {reason}")
            }
            Event::QuestionRefused { reason } => {
                write!(f, "no answer from the holder of the keys: {reason}")
            }
            Event::KernelIncapable { wanted, able, remarks } => {
                write!(
                    f,
                    "childsa [{}] names nothing that this kernel can do; it can do {able}",
                    wanted.join(" | ")
                )?;
                match remarks.is_empty() {
                    true => Ok(()),
                    false => write!(f, " ({})", remarks.join("; ")),
                }
            }
            Event::NatFound { local, remote } => f.write_str(match (local, remote) {
                (true, true) => "NAT found before both sides",
                (true, false) => "NAT found before us",
                (false, true) => "NAT found before the peer",
                (false, false) => "no NAT found",
            }),
            Event::PathMoved { from, to } => {
                write!(f, "moved: from {} with {} to {} with {}", from.0, from.1, to.0, to.1)
            }
            Event::PathTried { from, to } => {
                write!(f, "trying {} with {} in place of {} with {}", to.0, to.1, from.0, from.1)
            }
            Event::Remapped => {
                f.write_str("the NAT before us has another mapping; the peer is told of it")
            }
            Event::PathNotProved { path } => write!(
                f,
                "the peer says that it is at {} now, but does not answer there; staying",
                path.1
            ),
            Event::PathRefused { notify, path } => {
                write!(f, "the peer refuses {} with {}: {notify}", path.0, path.1)
            }
            Event::MovedByRekey { reason } => {
                write!(f, "a child SA is rekeyed rather than moved: {reason}")
            }
            Event::Fragmented { way } => f.write_str(match way {
                Way::In => "the peer sends messages in fragments",
                Way::Out => "messages go out in fragments",
            }),
            Event::FragmentsShrink { octets } => {
                write!(
                    f,
                    "no answer: large messages go in datagrams of {octets} octets from now on"
                )
            }
            Event::InitialContact { removed } => {
                write!(f, "the peer started anew; {removed} old IKE SAs removed")
            }
            Event::Superseded => {
                f.write_str("both sides opened at once; the IKE SA with the lower SPI will go")
            }
            Event::Internal { what } => write!(f, "internal fault: {what}"),
            Event::Message { way, local, summary, .. } => match way {
                Way::In => write!(f, "--> {local} {summary}"),
                Way::Out => write!(f, "<-- {local} {summary}"),
            },
            Event::Finished => f.write_str("everything is taken down"),
        }
    }
}
