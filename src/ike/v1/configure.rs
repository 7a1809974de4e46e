//! Mode Config at work: what the peer asks for is given (pull), or told unasked (push); what we ask for is
//! taken before phase 2 begins.
//!
//! ```text
//! client                                 gateway
//! AwaitReply  -- REQUEST  address? -->
//!             <-- REPLY  address --                (pull)
//!             <-- SET  address --                  (push: after a while without a request)
//!             -- ACK -->
//! ```
//!
//! A client that asks takes a SET for the answer, too: which of both a gateway does need not be configured.

use std::time::Duration;

use super::established::Established;
use super::method::Client;
use super::state::{Next, Stage};
use super::transaction::Told;
use super::{config, message, traffic, xauth};
use crate::conf::Family;
use crate::ike::core::{Core, Deed};
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::inner::{Configured, Inner};
use crate::ike::pool::{Exhausted, Holder, ranges};
use crate::ike::provide::{apply, give, none_given};
use crate::ike::report::Event;
use crate::wire::iana::v1::{ConfigType, ExchangeType};
use crate::wire::iana::v2::IdType;
use crate::wire::v1::Attributes;
use crate::wire::v2::Id;
use crate::wire::{Header, MessageId};

/// How long a gateway waits for a request before it tells a client its address unasked.
const UNASKED: Duration = Duration::from_secs(2);

/// An ISAKMP SA that waits for what its child SAs cannot be without: the addresses that we asked for, or
/// that the peer takes those that we told it, where we are the one who begins.
#[derive(Debug)]
pub struct Configuring {
    /// What it is to become.
    pub(super) sa: Box<Established>,
}

impl Configuring {
    /// Phase 1 is done, and so is the login, if there was one.
    pub fn begin(frame: &mut Frame, core: &mut Core, mut sa: Box<Established>) -> Stage {
        let policy = frame.policy.clone();
        if !policy.wanted.is_empty() {
            let identifier = sa.transactions.identifier();
            let request = config::request(&policy.wanted, sa.abilities.unity, identifier);
            sa.ask(frame, core, request);
            return Stage::Configuring(Box::new(Self { sa }));
        }
        if policy.provision.addresses.is_empty() {
            return sa.announce(frame, core);
        }
        if frame.initiator && sa.push(frame, core) {
            return Stage::Configuring(Box::new(Self { sa }));
        }
        sa.push_at = Some(core.now.after(UNASKED));
        sa.announce(frame, core)
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame) -> Option<Time> {
        self.sa.next_transaction(frame)
    }

    /// A message of phase 2 came.
    pub fn receive(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> Next {
        let exchange = header.exchange_v1();
        match exchange {
            ExchangeType::TRANSACTION if message::is_encrypted(header) => {
                match self.sa.transaction(frame, core, header, datagram) {
                    Some(Told::Answer(answer)) => self.answered(frame, core, &answer),
                    Some(Told::Asked(id, asked)) => self.asked(frame, core, id, &asked),
                    None => Next::same(Stage::Configuring(self)),
                }
            }
            ExchangeType::INFORMATIONAL if message::is_encrypted(header) => {
                self.sa.inform(frame, core, header, datagram);
                match self.sa.deleted {
                    true => {
                        let what = "it deleted the ISAKMP SA in place of Mode Config".into();
                        super::phase1::fail(frame, core, Event::Misbehaved { what })
                    }
                    false => Next::same(Stage::Configuring(self)),
                }
            }
            _ => {
                let why = format!("{exchange} while awaiting Mode Config");
                frame.report(core, Event::Dropped { why });
                Next::same(Stage::Configuring(self))
            }
        }
    }

    fn answered(self, frame: &mut Frame, core: &mut Core, answer: &Attributes) -> Next {
        match frame.policy.wanted.is_empty() {
            // It took what it was told.
            true => self.sa.announce(frame, core).into(),
            false => self.take(frame, core, answer),
        }
    }

    fn asked(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        id: MessageId,
        asked: &Attributes,
    ) -> Next {
        let wants = !frame.policy.wanted.is_empty();
        match asked.config_type {
            ConfigType::SET if wants && !xauth::is_meant(asked) => {
                self.sa.answer(frame, core, id, config::acknowledgement(asked));
                self.sa.transactions.drop_own();
                self.take(frame, core, asked)
            }
            // Both ask at once: a client that we were about to tell unasked.
            ConfigType::REQUEST if !wants && !xauth::is_meant(asked) => {
                self.sa.transactions.drop_own();
                self.sa.serve(frame, core, id, asked);
                self.sa.announce(frame, core).into()
            }
            _ => {
                self.sa.refuse(frame, core, id, asked);
                Next::same(Stage::Configuring(self))
            }
        }
    }

    /// What the gateway gives is used, if it is what we need.
    fn take(mut self, frame: &mut Frame, core: &mut Core, from: &Attributes) -> Next {
        let policy = frame.policy.clone();
        let granted = match config::granted(from) {
            Ok(granted) => granted.wanted(&policy),
            Err(what) => {
                self.sa.send_delete_ike(frame, core);
                return super::phase1::fail(frame, core, Event::Misbehaved { what });
            }
        };
        if let Some(Inner::Asked { v4, v6 }) = Inner::asked(&policy) {
            if granted.given.is_empty() {
                self.sa.send_delete_ike(frame, core);
                let event = Event::Disagreed(none_given((v4, v6), (false, false)));
                return super::phase1::fail(frame, core, event);
            }
            frame.config = Some(Configured::new(Inner::Ours(granted.given)));
        }
        let hosts = frame.hosts();
        let all = core.policies.iter().map(|running| &running.policy);
        let able = core.able.as_ref();
        let ours = all.filter(|it| super::shares(it, &policy)).flat_map(|policy| {
            let flows = policy.flows.iter().map(|flow| traffic::of_flow(policy, flow, hosts));
            flows.filter_map(|traffic| traffic.flows(policy, hosts, able).ok()).flatten()
        });
        let flows: Vec<_> = ours.collect();
        apply(frame, core, &flows, granted);
        self.sa.announce(frame, core).into()
    }

    /// Time has passed.
    pub fn timeout(mut self: Box<Self>, frame: &mut Frame, core: &mut Core) -> Next {
        self.sa.keep_mapping(frame, core);
        match self.sa.check_transaction(frame, core) {
            None => Next::same(Stage::Configuring(self)),
            Some(sent) => {
                self.sa.send_delete_ike(frame, core);
                let exchange = "Mode Config".into();
                super::phase1::fail(frame, core, Event::NoAnswer { exchange, sent })
            }
        }
    }
}

impl Established {
    /// A message of a transaction exchange, once phase 2 may go on.
    pub fn configure(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) {
        match self.transaction(frame, core, header, datagram) {
            Some(Told::Asked(id, asked)) => match asked.config_type {
                ConfigType::REQUEST if !xauth::is_meant(&asked) => {
                    self.serve(frame, core, id, &asked);
                }
                _ => self.refuse(frame, core, id, &asked),
            },
            // It took what it was told.
            Some(Told::Answer(_)) | None => (),
        }
    }

    /// Answers a request for configuration.
    fn serve(&mut self, frame: &mut Frame, core: &mut Core, id: MessageId, asked: &Attributes) {
        self.push_at = None;
        let wishes = [Family::Inet, Family::Inet6].into_iter();
        let wishes = wishes.filter_map(|family| Some((family, config::asked(asked, family)?)));
        let addresses = self.lend(frame, core, &wishes.collect::<Vec<_>>());
        let provision = &frame.policy.provision.clone();
        let reply = config::grant(provision, &addresses, Some(asked), asked.identifier);
        self.answer(frame, core, id, reply);
    }

    /// Tells the peer an address unasked. `false` if there is none.
    fn push(&mut self, frame: &mut Frame, core: &mut Core) -> bool {
        let policy = frame.policy.clone();
        let pools = |ipv4| ranges(&policy).any(|range| range.first.is_ipv4() == ipv4);
        let rows = [(Family::Inet, pools(true)), (Family::Inet6, pools(false))];
        let wishes = rows.into_iter().filter(|(_, has)| *has).map(|(family, _)| (family, None));
        let addresses = self.lend(frame, core, &wishes.collect::<Vec<_>>());
        if addresses.is_empty() {
            return false;
        }
        let identifier = self.transactions.identifier();
        let set = config::grant(&policy.provision, &addresses, None, identifier);
        self.ask(frame, core, set);
        true
    }

    /// Addresses for the peer: those that it has already, or new ones.
    fn lend(
        &self,
        frame: &mut Frame,
        core: &mut Core,
        wishes: &[(Family, Option<std::net::IpAddr>)],
    ) -> Vec<std::net::IpAddr> {
        if let Inner::Peers(given) = frame.hosts().inner {
            return given.addresses().collect();
        }
        let holder = match &self.login {
            Some((Client::Peer, user)) => {
                let data = user.clone().into_bytes();
                Holder::of(&Id { id_type: IdType::ID_KEY_ID, data })
            }
            _ => Holder::of(&self.ids.1),
        };
        // Whom we call again because our phase 1 grew old has it still.
        let take_over =
            frame.initiator || core.globals.sticky_address || core.globals.enforce_single_ike_sa;
        match give(frame, core, &holder, wishes, take_over) {
            Ok(given) => {
                if core.globals.sticky_address && !given.is_empty() {
                    // Another ISAKMP SA of this peer that had it goes.
                    core.deeds.push_back(Deed::Established(frame.id, false));
                }
                given.addresses().collect()
            }
            Err(Exhausted) => Vec::new(),
        }
    }

    /// Answers what is not for us, or comes too late: nothing of it is taken.
    fn refuse(&mut self, frame: &mut Frame, core: &mut Core, id: MessageId, asked: &Attributes) {
        let what = format!("{} that nothing here wants", asked.config_type);
        frame.report(core, Event::Misbehaved { what });
        let config_type = match asked.config_type {
            ConfigType::SET => ConfigType::ACK,
            _ => ConfigType::REPLY,
        };
        let attributes = Vec::new();
        let empty = Attributes { config_type, identifier: asked.identifier, attributes };
        self.answer(frame, core, id, empty);
    }

    /// Time has passed: a client that has asked for nothing is told its address; our message is sent
    /// again. Who does not acknowledge has no use for it.
    pub fn check_configuration(&mut self, frame: &mut Frame, core: &mut Core) {
        if self.push_at.take_if(|at| *at <= core.now).is_some()
            && frame.children.is_empty()
            && self.exchanges.is_empty()
            && frame.config.is_none()
        {
            self.push(frame, core);
        }
        if let Some(sent) = self.check_transaction(frame, core) {
            let exchange = "Mode Config".into();
            frame.report(core, Event::NoAnswer { exchange, sent });
        }
    }
}
