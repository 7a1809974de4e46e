//! INFORMATIONAL (RFC 7296 §1.4): deletions, liveness, notifications; and the answers to ours.

use super::auth::proof;
use super::established::Established;
use super::rules::Bag;
use super::tasks::Active;
use super::{refused, reply};
use crate::ike::child::Stage;
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::natt::Path;
use crate::ike::proposal::protocol_id;
use crate::ike::report::{Event, Gone};
use crate::wire::EspSpi;
use crate::wire::iana::v2::{ExchangeType, NotifyType, ProtocolId};
use crate::wire::v2::{Delete, Payload};

/// Whether the IKE SA goes on after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It does.
    Stands,
    /// The peer deleted it.
    Deleted,
}

impl Established {
    /// The peer's request.
    pub fn inform_request(&mut self, frame: &mut Frame, core: &mut Core, bag: &Bag) -> After {
        let disbelieved = bag.notify(NotifyType::AUTHENTICATION_FAILED);
        if disbelieved.is_some() {
            let offered = proof::offered(&frame.policy, frame.local.ip(), frame.initiator);
            frame.report(core, refused("our proof of identity", disbelieved, offered));
        }
        let ends = bag.deletes.contains(&Delete::Ike) || disbelieved.is_some();
        let mut payloads = Vec::new();
        for delete in &bag.deletes {
            if let Delete::Child { protocol, spis } = delete
                && !ends
            {
                let spis = self.deleted_by_peer(frame, core, *protocol, spis);
                if !spis.is_empty() {
                    payloads.push(Payload::Delete(Delete::Child { protocol: *protocol, spis }));
                }
            }
        }
        if !ends {
            payloads.extend(self.mobility_request(frame, core, bag));
        }
        self.sent = core.now;
        let exchange = ExchangeType::INFORMATIONAL;
        if !reply(frame, core, &mut self.protection, exchange, &payloads) || !ends {
            return After::Stands;
        }
        if let Some(successor) = self.peers_successor().or(self.successor) {
            core.deeds.push_back(Deed::Inherit(frame.id, successor));
            self.successor = Some(successor);
        }
        After::Deleted
    }

    /// Removes what the peer deletes; gives back our halves, unless we are deleting them too
    /// (RFC 7296 §1.4.1).
    fn deleted_by_peer(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        protocol: ProtocolId,
        spis: &[EspSpi],
    ) -> Vec<EspSpi> {
        let mut answer = Vec::new();
        for spi in spis {
            let named = |child: &crate::ike::child::Child| {
                child.agreement.spi_out == *spi && protocol_id(child.agreement.protocol) == protocol
            };
            let Some(at) = frame.children.iter().position(named) else {
                self.requests_mut().for_each(|request| request.deleted(*spi));
                continue;
            };
            match frame.children[at].stage {
                Stage::Ending => Self::give_way(frame, core, frame.children[at].id),
                _ => Self::revive(frame, core, frame.children[at].id),
            }
            let mut child = frame.part_with(at);
            child.remove(core);
            let deleting = self.active.iter().find_map(|(_, active)| match active {
                Active::DeleteChild(id, why) if *id == child.id => Some(*why),
                _ => None,
            });
            if deleting.is_none() {
                answer.push(child.agreement.spi_in);
            }
            let ending = child.stage == Stage::Ending;
            let why = deleting.unwrap_or(if ending { Gone::Replaced } else { Gone::ByPeer });
            if why != Gone::Replaced {
                let spis = child.printed_spis();
                frame.report(core, Event::ChildDeleted { spis, why });
                core.lost(&frame.policy.name, why);
            }
        }
        answer
    }

    /// The answer to our request.
    pub fn inform_response(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        active: Active,
        (bag, path): (&Bag, Path),
    ) {
        match active {
            Active::DeleteChild(id, why) => {
                let at = frame.children.iter().position(|child| child.id == id);
                let Some(at) = at else { return };
                let mut child = frame.part_with(at);
                child.remove(core);
                if why != Gone::Replaced {
                    let spis = child.printed_spis();
                    frame.report(core, Event::ChildDeleted { spis, why });
                    core.lost(&frame.policy.name, why);
                }
            }
            Active::DeleteIke(why) => frame.close(core, why),
            Active::DeleteSpi => (),
            Active::Inform => self.noticed(frame, core, bag),
            Active::Update(sent) => self.updated(frame, core, &sent, bag),
            Active::Check(sent) => self.checked(frame, core, &sent, (bag, path)),
            Active::Child(_) | Active::Ike(_) => {
                let what = "an INFORMATIONAL response to another request".into();
                frame.report(core, Event::Misbehaved { what });
            }
        }
    }
}
