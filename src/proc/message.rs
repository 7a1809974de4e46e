//! What the processes say to each other, and what oakctl says to `control`.
//!
//! ```text
//!            Down                Asked              Request
//!   parent ───────> child   control ───> ike   oakctl ───> control
//!          <───────                 <───              <───
//!             Up                 Told               Reply
//! ```
//!
//! `ike` and `ca` speak in [`AskCa`] and [`CaTells`], `ike` and `relay` in [`crate::net::Datagram`].
//! Which child may say what is judged by the parent ([`super::parent`]).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::conf::{Globals, Mode, Policy, PolicyName, SaProtocol};
use crate::ike::auth::{Answer, Question, QuestionId};
use crate::ike::event::{Command, Direction, KernelFlow, KernelSelector};
use crate::ike::inner::HostChange;
use crate::ike::pool::Lease;
use crate::ike::report::{Report, Way, concerns};
use crate::ike::view::{IkeKeys, SaView, Stats};
use crate::kernel::{Left, Note};
use crate::log::{Detail, Line};
use crate::net::Spec;
use crate::pki::CertView;

/// From the parent to a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Down {
    /// A link to this process, in place of any earlier one; comes with a descriptor.
    Peer(Role),
    /// How much to log.
    Detail(Detail),
    /// How the engine is to work; the first message to `ike`.
    Settings(Settings),
    /// A UDP socket; comes with a descriptor. To `ike` or `relay`.
    Udp(Spec),
    /// The PF_KEY socket; comes with a descriptor. To `ike`.
    Kernel(String),
    /// The control socket, listening; comes with a descriptor. To `control`.
    Listener,
    /// A way on which the secrets come from the reader; comes with a descriptor. To `ca`, which answers
    /// with [`Up::SecretsHeld`] or [`Up::SecretsFailed`].
    Secrets,
    /// Give another `ca` the passphrases on this way; comes with a descriptor.
    Share,
    /// A way on which another `ca` gives its passphrases, before [`Down::Secrets`]; comes with a
    /// descriptor. Nobody else has them any more.
    Shared,
    /// The addresses that this machine has now, the ones to be preferred first. To `ike`.
    Addresses(Vec<IpAddr>),
    /// Who had which address before. To `ike`, before its first configuration.
    Leases(Vec<Lease>),
    /// What an earlier run has in the kernel that does not tell whose it is. To `ike`, before the
    /// kernel.
    Left(Vec<Left>),
    /// A new configuration begins. To `ike`.
    ConfigBegin(Globals),
    /// One policy of it.
    ConfigPolicy(Box<Policy>),
    /// It is whole.
    ConfigEnd,
    /// The end of a reload. To `control`.
    Reloaded {
        /// Who asked for it.
        client: ClientId,
        /// What came of it, in words.
        outcome: Result<String, String>,
    },
    /// Take everything down; answered by [`Up::Finished`]. To `ike`.
    Shutdown,
}

/// From a child to the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Up {
    /// A line for the log.
    Log(Line),
    /// The new secrets are in use. From `ca`.
    SecretsHeld,
    /// They did not come; why. From `ca`.
    SecretsFailed(String),
    /// Read the configuration again; answered by [`Down::Reloaded`]. From `control`.
    Reload(ClientId),
    /// How much all processes are to log. From `control`.
    Detail(Detail),
    /// What comes from this process over our link to it is malformed.
    Broken(Role, String),
    /// Have the host use what a peer gave us, or no longer. From `ike`.
    Host(HostChange),
    /// Keep who has this address. From `ike`.
    Lease(Lease),
    /// Keep what is ours in the kernel, or no longer. From `ike`.
    Kept(Note),
    /// Everything is taken down. From `ike`.
    Finished,
}

/// How the engine is to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// An earlier `ike` process died: what it left in the kernel is to be taken care of.
    pub restarted: bool,
    /// Datagrams go through the `relay` process.
    pub relayed: bool,
    /// A kernel will be handed over; without one its answers are made up.
    pub kernel: bool,
    /// The ports for IKE, and for IKE and ESP in UDP.
    pub ports: (u16, u16),
    /// The routing domain of the sockets (OpenBSD).
    pub rdomain: u16,
}

/// A connection of an oakctl; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientId(pub u64);

/// A question from `ike` to `ca`.
pub type AskCa = (QuestionId, Question);

/// From `ca` to `ike`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaTells {
    /// The answer to a question.
    Answer(QuestionId, Answer),
    /// What follows, up to `Known`, takes the place of what was told before.
    Begin,
    /// Some authorities that are trusted: see [`crate::ike::auth::Trust`].
    Authorities(Vec<([u8; 20], Vec<u8>)>),
    /// A certificate, for people to look at.
    Cert(Box<CertView>),
    /// That was all.
    Known {
        /// Raw public keys of peers are known.
        raw_keys: bool,
        /// OCSP answers are wanted, also by these: see [`crate::ike::auth::Trust`].
        ocsp: Option<Vec<[u8; 20]>>,
    },
}

/// From `control` to `ike`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// A client wants this.
    Request(ClientId, Show),
    /// The client has read what there was; go on.
    More(ClientId),
    /// The client is gone: forget what it waits for.
    Gone(ClientId),
    /// A client gives a command.
    Command(ClientId, Command),
    /// How closely anybody looks on.
    Watch(Watch),
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Show {
    /// The IKE SAs with their child SAs.
    Sas,
    /// The flows in the kernel.
    Flows,
    /// The counters.
    Stats,
    /// The last failure of each peer.
    Failures,
    /// Certificates and raw keys.
    Certs,
}

/// How closely somebody looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Watch {
    /// Not at all.
    #[default]
    Nothing,
    /// Reports.
    Reports,
    /// And each message.
    Messages,
    /// And its octets.
    Packets,
    /// And the keys that open them.
    Keys,
}

/// From `ike` to `control`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// One reply to a client.
    Reply(ClientId, Reply),
    /// There is more; ask for it when the client has read this ([`Asked::More`]).
    Pause(ClientId),
    /// For everybody who looks on.
    Report(Event),
    /// For everybody who looks on so closely.
    Packet(Box<Packet>),
    /// For everybody who asked for keys.
    Keys(Whose, Box<IkeKeys>),
}

/// What an oakctl asks: one request per connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Show these.
    Show(Show),
    /// Reports from now on, until the connection ends.
    Monitor {
        /// How closely.
        watch: Watch,
        /// Only what concerns this peer (address, identity or policy).
        whom: Option<String>,
    },
    /// Do this.
    Command(Command),
    /// Read the configuration again.
    Reload,
    /// How much to log.
    Detail(Detail),
}

/// What it is told: any number of items, then `Done` or `Refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// An IKE SA.
    Sa(Box<SaView>),
    /// A flow in the kernel.
    Flow(Box<FlowView>),
    /// The counters.
    Stats(Stats),
    /// A certificate, a revocation list or a raw key.
    Cert(Box<CertView>),
    /// Why a negotiation failed, or what happened just now.
    Event(Event),
    /// A datagram that came or went.
    Packet(Box<Packet>),
    /// The keys of an IKE SA.
    Keys(Box<IkeKeys>),
    /// Reports came faster than they were read: so many are missing here.
    Lost(u64),
    /// That was all.
    Done(String),
    /// It was not done; why.
    Refused(String),
}

/// A flow that the daemon put into the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowView {
    /// In or out.
    pub direction: Direction,
    /// What traffic.
    pub selector: KernelSelector,
    /// ESP or AH.
    pub protocol: SaProtocol,
    /// IPComp stands within it.
    pub ipcomp: bool,
    /// AH stands around it.
    pub around: bool,
    /// Tunnel or transport.
    pub mode: Mode,
    /// Our outer address.
    pub local: IpAddr,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// The SAs it uses.
    pub reqid: u32,
}

impl From<KernelFlow> for FlowView {
    fn from(flow: KernelFlow) -> Self {
        let KernelFlow { direction, selector, protocol, mode, local, remote, reqid, .. } = flow;
        let KernelFlow { ipcomp, around, .. } = flow;
        Self { direction, selector, protocol, ipcomp, around, mode, local, remote, reqid }
    }
}

/// Who a datagram is from or to, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// The peer's address.
    pub remote: SocketAddr,
    /// The policy.
    pub policy: Option<PolicyName>,
    /// Who the peer is or should be.
    pub identity: Option<String>,
}

impl Whose {
    /// Whether it is the peer that an operator names.
    pub fn is(&self, whom: &str) -> bool {
        concerns(whom, Some(self.remote), self.policy.as_ref(), self.identity.as_deref())
    }
}

/// A datagram as it was sent or received, without the non-ESP marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// When, since 1970.
    pub at: Duration,
    /// Whether it came or went.
    pub way: Way,
    /// Our address.
    pub local: SocketAddr,
    /// Whether ESP shares the port: then the non-ESP marker stood before it.
    pub encap: bool,
    /// The other side.
    pub whose: Whose,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// A report with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What.
    pub report: Report,
}

/// The longest request of an oakctl, in octets.
pub const MAX_REQUEST: usize = 4096;
