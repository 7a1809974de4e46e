//! What to say when the two sides of a child SA do not agree about traffic or mode.

use crate::conf::Mode;
use crate::ike::report::Disagreement;
use crate::ike::selector::{self, NoFlows, Traffic};
use crate::wire::v2::TrafficSelector;

/// Traffic for people: our side and the peer's.
pub fn lines(traffic: &Traffic) -> Vec<String> {
    let side = |selectors: &[TrafficSelector]| match selectors {
        [] => "none".into(),
        some => some.iter().map(written).collect::<Vec<_>>().join(", "),
    };
    vec![format!("ours {}", side(&traffic.local)), format!("peer's {}", side(&traffic.remote))]
}

/// A selector as the configuration writes it, where its addresses are one network.
fn written(selector: &TrafficSelector) -> String {
    let text = selector.to_string();
    match selector::prefixes(selector.addresses).as_deref() {
        Ok([prefix]) => {
            let (first, last) = selector.addresses;
            text.replacen(&format!("{first}-{last}"), &prefix.to_string(), 1)
        }
        _ => text,
    }
}

/// The traffic that each side wants, and why no flows come of it.
pub fn traffic(ours: &Traffic, peers: &Traffic, why: NoFlows) -> Box<Disagreement> {
    Box::new(Disagreement { advice: why.advice().into(), ..other(ours, peers, &why.to_string()) })
}

/// The traffic that each side wants, and what is wrong with the peer's.
pub fn other(ours: &Traffic, peers: &Traffic, why: &str) -> Disagreement {
    Disagreement {
        about: "traffic selectors".into(),
        ours: lines(ours),
        theirs: lines(peers),
        mismatch: why.into(),
        advice: NoFlows::NothingInCommon.advice().into(),
    }
}

/// One side wants tunnel mode and the other transport mode.
pub fn mode(ours: Mode) -> Box<Disagreement> {
    let (ours, theirs) = match ours {
        Mode::Tunnel => ("tunnel", "transport"),
        Mode::Transport => ("transport", "tunnel"),
    };
    Box::new(Disagreement {
        about: "the mode of the child SA".into(),
        ours: vec![ours.into()],
        theirs: vec![theirs.into()],
        mismatch: format!("mode: we want {ours}, the peer {theirs}"),
        advice: "write the same mode on both sides".into(),
    })
}
