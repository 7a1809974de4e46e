//! Every sentence that the operator reads in the log.

use std::fmt;

use super::{Event, Explained, Gone, Report, Way};
use crate::conf::{self, counted};

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
            Event::Configured { policies } => {
                write!(f, "configured with {}", conf::policies(*policies))
            }
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
                match old.is_empty() {
                    true => f.write_str("child SA")?,
                    false => write!(f, "child SA in {old}")?,
                }
                write!(f, " rekeyed, now in {} out {}", spis.0, spis.1)
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
            Event::ProofUnreadable { local_id, remote_id, why } => {
                let remote_id = remote_id.as_deref().unwrap_or("anybody");
                write!(
                    f,
                    "the peer's proof of identity is not readable ({why}): most likely the \
                     pre-shared keys differ, ours for {local_id} with {remote_id} and the peer's"
                )
            }
            Event::Authenticated { identity, by } => write!(f, "{identity} proved by {by}"),
            Event::LoggedIn { user, peer: true } => write!(f, "the peer logged in as {user}"),
            Event::LoggedIn { user, peer: false } => write!(f, "logged in as {user}"),
            Event::LoginFailed { user, why } if user.is_empty() => {
                write!(f, "the login failed: {why}")
            }
            Event::TooManyTries { user, address } => write!(
                f,
                "too many wrong passwords from {address} or for {user}: further ones wait"
            ),
            Event::LoginFailed { user, why } => write!(f, "the login of {user} failed: {why}"),
            Event::PeerRejected { identity, why } => {
                write!(f, "the peer, which calls itself {identity}, is not accepted: {why}")
            }
            Event::NoPolicy { wanted, candidates } => {
                write!(f, "no policy for {wanted}")?;
                match candidates.is_empty() {
                    true => Ok(()),
                    false => write!(f, " [{}]", candidates.join(" | ")),
                }
            }
            Event::NoGroup { groups } => {
                write!(f, "ikesa names no group that can be computed here: {}", groups.join(", "))
            }
            Event::NothingComputed { why } => {
                write!(
                    f,
                    "nothing that this rule names for phase 1 can be used: {}",
                    why.join(", ")
                )
            }
            Event::OtherVersion { .. } => {
                let Explained { reason, advice, .. } = self.explained();
                write!(f, "{reason}; {advice}")
            }
            Event::NoAnswer { exchange, sent } => {
                let sent = counted(*sent, "time", "times");
                write!(f, "no answer to {exchange}, sent {sent}; peer down or UDP blocked?")
            }
            Event::WillRetry { after } => write!(f, "trying again in {} s", after.as_secs()),
            Event::HalfOpenExpired { unmet: None } => {
                f.write_str("the peer did not go on with the negotiation")
            }
            Event::HalfOpenExpired { unmet: Some(unmet) } => write!(
                f,
                "the peer did not go on with the negotiation; it announced {unmet}, which is not \
                 known here and which it may insist on"
            ),
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
            Event::NotSelectable { why } => {
                write!(f, "what it is to protect does not fit into this kernel's flows: {why}")
            }
            Event::NatFound { local, remote } => f.write_str(match (local, remote) {
                (true, true) => "NAT found before both sides",
                (true, false) => "NAT found before us",
                (false, true) => "NAT found before the peer",
                (false, false) => "no NAT found",
            }),
            Event::NatForbidden => f.write_str("a NAT is on the way, which `nonat` forbids"),
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
                let old = counted(*removed, "old IKE SA", "old IKE SAs");
                write!(f, "the peer started anew; {old} removed")
            }
            Event::Doubted { child } => {
                let what = if *child { "child SA" } else { "IKE SA" };
                write!(
                    f,
                    "the peer may have forgotten the {what}, as a message that nothing protects \
                     says: it is asked whether it is alive"
                )
            }
            Event::KeyExchangeTurned { group } => {
                let how = group.as_ref().map_or("without a key exchange".into(), |it| {
                    format!("with a key exchange by {it} (PFS)")
                });
                write!(
                    f,
                    "the peer refuses the child SA; as `childsa` names no group, it is asked again \
                     {how}: write `group` there as the peer has it, and that is saved"
                )
            }
            Event::FlowCovered { flow, other } => write!(
                f,
                "{flow} goes to this peer now, and no longer to {other}: where both are to be reached, \
                 give their networks different addresses"
            ),
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
