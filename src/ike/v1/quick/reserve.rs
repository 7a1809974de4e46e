//! What the kernel reserves for a Quick Mode: an SPI for each protocol of its bundle.

use super::install::postpone;
use super::{Quick, Step};
use crate::conf::SaProtocol;
use crate::ike::core::{Core, Negotiation, Owner};
use crate::ike::event::{Cpi, KernelAnswer, KernelRequest, SaKey};
use crate::ike::frame::Frame;
use crate::ike::report::Event;
use crate::ike::selector::Hosts;
use crate::ike::v1::established::Established;
use crate::ike::v1::offer::Spis;
use crate::wire::iana::v1::NotifyType;
use crate::wire::v1::Notify;
use crate::wire::{EspSpi, MessageId};

/// What is reserved so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reserved {
    /// For ESP, or AH without it.
    pub main: Option<EspSpi>,
    /// For AH around ESP.
    pub around: Option<EspSpi>,
    /// For IPComp.
    pub cpi: Option<Cpi>,
}

impl Reserved {
    /// The SPIs, once that of the protocol in the middle is there, which comes last.
    pub fn spis(&self) -> Option<Spis> {
        let Self { main, around, cpi } = *self;
        main.map(|main| Spis { main, around, cpi })
    }
}

impl Quick {
    /// Gives back whatever is reserved.
    pub fn abandon(&self, core: &mut Core) {
        let Hosts { local, remote, .. } = self.hosts;
        let Reserved { main, around, cpi } = self.reserved;
        let main = main.map(|spi| (self.policy.protocol, spi));
        let around = around.map(|spi| (SaProtocol::Ah, spi));
        for (protocol, spi) in main.into_iter().chain(around) {
            core.delete_sa(SaKey { protocol, spi, src: remote, dst: local });
        }
        if let Some(cpi) = cpi {
            core.drop_cpi(cpi, remote, local);
        }
    }

    /// Asks the kernel for the next SPI that is missing; that of the protocol in the middle comes last.
    pub(super) fn reserve(&self, frame: &Frame, core: &mut Core) {
        let Hosts { local, remote, .. } = self.hosts;
        let (sa, path) = (frame.id, (remote, local));
        let (src, dst) = path;
        let negotiation = Negotiation::Exchange(self.id);
        let main = self.policy.protocol;
        if self.policy.ipcomp && self.reserved.cpi.is_none() {
            let owner = Owner::Cpi { sa, negotiation, protocol: main, path };
            return core.kernel(owner, KernelRequest::GetCpi { src, dst });
        }
        let around = self.policy.around.is_some() && self.reserved.around.is_none();
        let protocol = if around { SaProtocol::Ah } else { main };
        let owner = Owner::Spi { sa, negotiation, protocol, path };
        core.kernel(owner, KernelRequest::GetSpi { protocol, src, dst });
    }

    /// Whether SPIs are being reserved for it.
    fn awaits_spis(&self) -> bool {
        matches!(self.step, Step::AwaitSpi(_) | Step::AwaitSpiForPeer(_))
    }
}

impl Established {
    /// The kernel reserved an SPI, or did not. Gives it back if nobody wants it any more.
    pub fn reserved(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: MessageId,
        protocol: SaProtocol,
        spi: Option<EspSpi>,
    ) -> Option<EspSpi> {
        let Some(mut quick) = self.take(id) else { return spi };
        if !quick.awaits_spis() {
            self.exchanges.push(quick);
            return spi;
        }
        let Some(spi) = spi else {
            self.not_reserved(frame, core, &quick);
            return None;
        };
        if protocol != quick.policy.protocol {
            quick.reserved.around = Some(spi);
            quick.reserve(frame, core);
            self.exchanges.push(quick);
            return None;
        }
        quick.reserved.main = Some(spi);
        match std::mem::replace(&mut quick.step, Step::Done(core.now)) {
            Step::AwaitSpi(feasible) => self.send_offer(frame, core, quick, &feasible),
            Step::AwaitSpiForPeer(answering) => self.prepare(frame, core, quick, *answering),
            _ => (),
        }
        None
    }

    /// The kernel reserved a CPI, or did not. Gives it back if nobody wants it any more.
    pub fn compresses(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: MessageId,
        answer: KernelAnswer,
    ) -> Option<Cpi> {
        let waits = self.exchanges.iter().position(|it| it.id == id && it.awaits_spis());
        match (waits, answer) {
            (Some(at), KernelAnswer::Cpi(cpi)) => {
                let quick = &mut self.exchanges[at];
                quick.reserved.cpi = Some(cpi);
                quick.reserve(frame, core);
                None
            }
            (None, KernelAnswer::Cpi(cpi)) => Some(cpi),
            (Some(at), KernelAnswer::Failed(reason)) => {
                let request = "reserve a CPI for IPComp".into();
                frame.report(core, Event::KernelFailed { request, reason });
                let quick = self.exchanges.swap_remove(at);
                self.not_reserved(frame, core, &quick);
                None
            }
            _ => None,
        }
    }

    fn not_reserved(&mut self, frame: &mut Frame, core: &mut Core, quick: &Quick) {
        quick.abandon(core);
        match quick.step {
            Step::AwaitSpi(_) => postpone(frame, core, quick.rekeys, &quick.traffic),
            _ => self.notify(frame, core, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN)),
        }
    }
}
