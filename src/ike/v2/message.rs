//! Protected messages: opening a response, sending a request, answering one.

use std::borrow::Cow;

use super::keys::Protection;
use super::rules::Bag;
use super::{fragment, mobike, seal};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::report::{Event, Gone, Way};
use crate::wire::iana::v2::{ExchangeType, GroupId, NotifyType};
use crate::wire::v2::{Notify, Payload};
use crate::wire::{Error as WireError, Header, dump};

/// Opens a message: `Err(None)` if it is not from the peer or not whole yet, `Err(Some)` if it does not
/// parse.
pub fn read_sealed(
    frame: &mut Frame,
    core: &mut Core,
    protection: &Protection,
    header: &Header,
    datagram: &[u8],
) -> Result<Vec<Payload>, Option<WireError>> {
    match fragment::open(frame, core, protection, header, datagram) {
        Ok(payloads) => {
            let rung = || dump::rung(header, &payloads);
            core.ladder(Way::In, frame.local, frame.remote, rung);
            Ok(payloads)
        }
        Err(seal::Fault::Forged(why)) => {
            core.stats.forged += 1;
            frame.report(core, Event::Dropped { why });
            Err(None)
        }
        Err(seal::Fault::Incomplete) => Err(None),
        Err(seal::Fault::Malformed(error)) => {
            core.stats.malformed += 1;
            Err(Some(error))
        }
    }
}

/// A request that breaks the protocol: what to tell the peer; it is reported here.
pub fn broken(frame: &Frame, core: &mut Core, what: impl Into<String>) -> Notify {
    frame.report(core, Event::Misbehaved { what: what.into() });
    Notify::new(NotifyType::INVALID_SYNTAX)
}

/// Sends a protected request. If that cannot be, the SA is closed.
pub fn send_request(
    frame: &mut Frame,
    core: &mut Core,
    protection: &mut Protection,
    exchange: ExchangeType,
    payloads: &[Payload],
) -> bool {
    let payloads = &*with_window(frame, payloads);
    let sealed = match frame.window.next_own() {
        Some(id) => {
            let header = seal::header(frame, exchange, false, id);
            core.ladder(Way::Out, frame.local, frame.remote, || dump::rung(&header, payloads));
            {
                let room = frame.fragments.room(frame.local);
                seal::seal(protection, &header, payloads, room, &mut *core.random)
            }
        }
        None => Err("the message IDs are used up".into()),
    };
    match sealed {
        Ok(octets) => {
            fragment::sent(frame, core, &octets);
            frame.fragments.asked();
            frame.window.sent(&octets, core.now, &core.settings.backoff, &mut *core.random);
            let path = mobike::route(frame, core, 0);
            core.send(path.local, path.remote, octets);
            true
        }
        Err(what) => {
            frame.report(core, Event::Internal { what });
            frame.close(core, Gone::Failed);
            false
        }
    }
}

/// The payloads, and how many requests we take at a time, if the peer does not know it yet.
fn with_window<'a>(frame: &mut Frame, payloads: &'a [Payload]) -> Cow<'a, [Payload]> {
    let Some(size) = frame.window.tell() else { return Cow::Borrowed(payloads) };
    let data = size.to_be_bytes().to_vec();
    let notify = Payload::Notify(Notify::with_data(NotifyType::SET_WINDOW_SIZE, data));
    Cow::Owned(payloads.iter().cloned().chain([notify]).collect())
}

/// The peer says how many requests of ours it takes at a time.
pub fn hear_window(frame: &mut Frame, bag: &Bag) {
    let notify = bag.notify(NotifyType::SET_WINDOW_SIZE);
    let size = notify.and_then(|notify| notify.data.as_slice().try_into().ok());
    if let Some(size) = size {
        frame.window.peer_takes(u32::from_be_bytes(size));
    }
}

/// Answers the peer's request. If that cannot be, the SA is closed.
pub fn reply(
    frame: &mut Frame,
    core: &mut Core,
    protection: &mut Protection,
    exchange: ExchangeType,
    payloads: &[Payload],
) -> bool {
    let payloads = &*with_window(frame, payloads);
    let header = seal::header(frame, exchange, true, frame.window.answering());
    core.ladder(Way::Out, frame.local, frame.remote, || dump::rung(&header, payloads));
    let room = frame.fragments.room(frame.local);
    match seal::seal(protection, &header, payloads, room, &mut *core.random) {
        Ok(octets) => {
            frame.window.replied(&octets);
            if frame.window.is_due() {
                core.deeds.push_back(Deed::TakeTurn(frame.id));
            }
            fragment::sent(frame, core, &octets);
            frame.fragments.answered();
            let path = frame.request_path();
            frame.asked_by = None;
            core.send(path.local, path.remote, octets);
            true
        }
        Err(what) => {
            frame.report(core, Event::Internal { what });
            frame.close(core, Gone::Failed);
            false
        }
    }
}

/// The peer refuses, with this notification if it gives a reason: what it says, and what to look at.
pub fn refused(what: &str, error: Option<&Notify>, offered: Vec<String>) -> Event {
    let of_ike = what.starts_with(&*ExchangeType::IKE_SA_INIT.to_string());
    let what = what.into();
    let Some(error) = error else {
        let (notify, advice) = ("no reason given".into(), "see the peer's log".into());
        return Event::Refused { what, notify, offered, advice };
    };
    let mut notify = error.notify_type.to_string();
    if let (NotifyType::INVALID_KE_PAYLOAD, &[high, low]) = (error.notify_type, &*error.data) {
        notify.push_str(&format!(" (it wants {})", GroupId(u16::from_be_bytes([high, low]))));
    }
    let advice = match error.notify_type {
        NotifyType::NO_PROPOSAL_CHOSEN if of_ike => {
            "compare `ikesa` with the peer's, and see that the peer has a rule for our two addresses: \
             without one many answer so too; the peer's log names its own"
        }
        error => refusal_advice(error),
    };
    let advice = advice.into();
    Event::Refused { what, notify, offered, advice }
}

fn refusal_advice(error: NotifyType) -> &'static str {
    match error {
        NotifyType::NO_PROPOSAL_CHOSEN => {
            "compare the proposals (childsa; ikesa where the IKE SA is rekeyed) of the two sides, esp or \
             ah, and whether both want tunnel or transport mode; the peer's log names its own"
        }
        NotifyType::INVALID_KE_PAYLOAD => {
            "make the groups (ikesa, childsa) of the two sides have one in common"
        }
        NotifyType::TS_UNACCEPTABLE => {
            "compare `from` and `to` with the peer's: one must be the mirror of the other"
        }
        NotifyType::SINGLE_PAIR_REQUIRED => {
            "the peer takes one pair of addresses in a child SA: write `from` and `to` with a single \
             address each"
        }
        NotifyType::AUTHENTICATION_FAILED => {
            "compare the identities (srcid, dstid) of the two sides, the ways to prove them, and the \
             pre-shared keys or certificates; the peer's log says which of these it disliked"
        }
        NotifyType::INTERNAL_ADDRESS_FAILURE => {
            "the peer has no address for us: give its pool more, or end what nobody uses there"
        }
        NotifyType::FAILED_CP_REQUIRED => {
            "the peer serves only who asks for an address: write `request addr`"
        }
        NotifyType::UNEXPECTED_NAT_DETECTED => {
            "a NAT is on the way: take it out of the way, or leave out `nonat`"
        }
        NotifyType::NO_ADDITIONAL_SAS => "the peer allows no more SAs",
        NotifyType::INVALID_SYNTAX => {
            "the peer did not understand the message: a fault of one side"
        }
        _ => "see the peer's log",
    }
}
