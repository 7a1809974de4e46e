//! The Fragment payload, as Cisco, Windows and strongSwan use it (MS-IKEE §2.2.4).
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+---------------+---------------+
//! |          Fragment ID          |Fragment Number|     Flags     |
//! +-------------------------------+---------------+---------------+
//! ~                        Fragment Data                          ~
//! +---------------------------------------------------------------+
//! ```

use crate::wire::error::Reason;
use crate::wire::payload::{Parsed, number8, number16, remainder, whole};

/// The flag of the last fragment of a message.
const LAST: u8 = 1;

/// Octets of a fragment's body before its data.
pub const FRAGMENT_HEADER_LEN: usize = 4;

/// A piece of a message with its header, encrypted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Which message: the same in all its fragments.
    pub id: u16,
    /// Which fragment, from 1.
    pub number: u8,
    /// Whether it is the last one.
    pub last: bool,
    /// The octets.
    pub data: Vec<u8>,
}

impl Fragment {
    pub(super) fn parse(body: &[u8]) -> Result<Fragment, Reason> {
        let fragment = whole(body, |input| -> Parsed<'_, Fragment> {
            let (rest, id) = number16("fragment ID")(input)?;
            let (rest, number) = number8("fragment number")(rest)?;
            let (rest, flags) = number8("fragment flags")(rest)?;
            let (rest, data) = remainder(rest)?;
            Ok((rest, Fragment { id, number, last: flags & LAST != 0, data }))
        })?;
        match fragment.number {
            0 => Err(Reason::Malformed { field: "fragment number 0" }),
            _ => Ok(fragment),
        }
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.id.to_be_bytes());
        out.extend([self.number, u8::from(self.last)]);
        out.extend(&self.data);
    }
}
