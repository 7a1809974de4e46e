//! Proposals of IKEv1: transforms made from a policy's proposals, and one chosen from a peer's.
//!
//! Each transform is one whole suite. It is turned into a proposal of single transforms, as the
//! neutral [`proposal`] has them, which then chooses, or says what did not match.

mod bundle;
mod lifetime;
mod phase1;
mod phase2;

pub use bundle::{Chosen, Encapsulation, Spis, Wanted, cpi};

pub use lifetime::{lifetime, lifetime_attributes, shorter};
pub use phase1::{Phase1Choice, accept_phase1, choose_phase1, lacking, phase1};
pub use phase2::{
    Phase2Choice, accept_phase2, choose_phase2, passes_nat, pfs_group, phase2, protocol_id,
};

use super::algorithms;
use crate::ike::proposal;
use crate::wire::iana::v1::ProtocolId;
use crate::wire::iana::v2::{self, TransformType};
use crate::wire::v1::Sa;
use crate::wire::v2::sa::Transform as Part;
use phase1::ike_offer;
use phase2::line;

/// The most transforms of a peer that are looked at: what a transform number can count.
const MOST: usize = 255;

/// Proposals for people, a line for each transform; what belongs together bears its number.
pub fn printed(sa: &Sa) -> Vec<String> {
    let numbers = || sa.proposals.iter().map(|it| it.number);
    let lines = sa.proposals.iter().flat_map(|it| {
        let bundle = numbers().filter(|number| *number == it.number).count() > 1;
        it.transforms.iter().map(move |transform| match it.protocol {
            ProtocolId::ISAKMP => proposal::printed(&[ike_offer(0, transform)]).join(""),
            _ if bundle => format!("{}: {}", it.number, line(it, transform)),
            _ => line(it, transform),
        })
    });
    lines.take(MOST).collect()
}

/// A number of the peer's that is no algorithm here: it is shown, and never chosen.
fn unknown(transform_type: TransformType, id: u16) -> Part {
    Part::Unknown { transform_type, id, attributes: Vec::new() }
}

fn encryption(known: Option<v2::EncryptionId>, id: u16, said: Option<u64>) -> Part {
    let said = said.and_then(|bits| u16::try_from(bits).ok());
    match known {
        Some(id) => Part::Encr { id, key_bits: algorithms::key_bits(id, said) },
        None => unknown(TransformType::ENCR, id),
    }
}

fn advice(word: &str) -> String {
    format!(
        "write after `{word}` of this rule what the peer offers, or have the peer offer what we \
         allow"
    )
}
