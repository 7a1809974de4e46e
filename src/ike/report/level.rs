//! How much each report matters, and whom it concerns.

use std::net::SocketAddr;

use super::{Event, Level, Report};
use crate::conf::PolicyName;

impl Report {
    /// How much it matters.
    pub fn level(&self) -> Level {
        use Event::{
            AddressesGiven, AddressesTaken, Authenticated, ChildDeleted, ChildEstablished,
            ChildRekeyed, Configured, Disagreed, Doubted, Dropped, Finished, FlowCovered,
            Fragmented, FragmentsShrink, HalfOpenExpired, IkeDeleted, IkeEstablished, IkeRekeyed,
            InitialContact, Initiating, Internal, KernelFailed, KernelIncapable, KeyExchangeTurned,
            LoggedIn, LoginFailed, Message, Misbehaved, MovedByRekey, NatForbidden, NatFound,
            NoAnswer, NoGroup, NoPolicy, NotSelectable, NothingComputed, OtherVersion, PathMoved,
            PathNotProved, PathRefused, PathTried, PeerNotAuthenticated, PeerRejected,
            ProofUnreadable, QuestionRefused, Refused, Remapped, Superseded, TooManyTries,
            WillRetry,
        };
        match self.event {
            Disagreed(_)
            | Refused { .. }
            | PeerNotAuthenticated { .. }
            | ProofUnreadable { .. }
            | PeerRejected { .. }
            | LoginFailed { .. }
            | OtherVersion { .. }
            | KernelFailed { .. }
            | QuestionRefused { .. }
            | KernelIncapable { .. }
            | NotSelectable { .. }
            | NoGroup { .. }
            | NothingComputed { .. }
            | NatForbidden
            | Internal { .. } => Level::Error,
            IkeEstablished { .. }
            | IkeDeleted { .. }
            | ChildEstablished { .. }
            | ChildDeleted { .. }
            | NoAnswer { .. }
            | NoPolicy { .. }
            | TooManyTries { .. }
            | PathMoved { .. }
            | FlowCovered { .. }
            | Remapped
            | PathNotProved { .. }
            | PathRefused { .. }
            | Misbehaved { .. } => Level::Notice,
            Configured { .. }
            | Authenticated { .. }
            | LoggedIn { .. }
            | AddressesGiven { .. }
            | AddressesTaken { .. }
            | Initiating
            | IkeRekeyed { .. }
            | ChildRekeyed { .. }
            | WillRetry { .. }
            | HalfOpenExpired { .. }
            | NatFound { .. }
            | Fragmented { .. }
            | PathTried { .. }
            | MovedByRekey { .. }
            | FragmentsShrink { .. }
            | InitialContact { .. }
            | Doubted { .. }
            | KeyExchangeTurned { .. }
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
                    | Event::HalfOpenExpired { .. }
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
