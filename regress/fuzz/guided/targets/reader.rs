//! What is tried with octets that claim to be a message of a kernel.

use pfkey::{Dialect, Incoming, Message, ReplyData, Request, print};

/// Reads, understands, prints; and what was understood can be asked for again.
pub fn read(name: &str, octets: &[u8]) {
    let Some(dialect) = Dialect::by_name(name) else { return };
    for piece in pfkey::message::split(octets).take(8) {
        if let Ok(message) = Message::parse(dialect, piece) {
            drop(print::message(&message));
        }
        let Ok(Incoming::Reply(reply)) = dialect.interpret(piece) else { continue };
        match reply.data {
            ReplyData::SaInfo(info) => {
                drop(print::sa(&info, true));
                if let Some(spec) = info.to_spec() {
                    let _ = dialect.compose(&Request::Add(Box::new(spec)), 1, 1);
                }
            }
            ReplyData::Flow(info) => {
                drop(print::flow(&info));
                let _ = dialect.compose(&Request::AddFlow(Box::new(info.flow)), 1, 1);
            }
            _ => (),
        }
    }
}
