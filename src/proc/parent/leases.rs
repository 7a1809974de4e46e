//! Who has which address, in a file: it outlives every process and the machine's restart.
//!
//! Each line is an address and its holder's octets; the last line of an address counts.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::journal::{Journal, hexadecimal, octets};
use crate::ike::pool::{Holder, Lease};

/// The name of the file in the directory for state.
const NAME: &str = "leases";
/// How many leases are kept; more are not remembered.
const MOST: usize = 1 << 18;

/// The leases that are known.
#[derive(Debug, Default)]
pub struct Leases {
    known: BTreeMap<IpAddr, Holder>,
    journal: Journal,
}

impl Leases {
    /// Reads what an earlier daemon kept. Lines that are none are passed over.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read or written; then nothing will be kept.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let text = Journal::read(directory, NAME)?;
        let known: BTreeMap<_, _> = text.lines().filter_map(read).take(MOST).collect();
        let journal = Journal::begin(directory, NAME, &lines(&known))?;
        Ok(Self { known, journal })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = Lease> {
        self.known
            .iter()
            .map(|(address, holder)| Lease { address: *address, holder: holder.clone() })
    }

    /// Keeps one.
    ///
    /// # Errors
    ///
    /// It could not be written; it is kept as long as this process lives.
    pub fn keep(&mut self, lease: Lease) -> io::Result<()> {
        let Lease { address, holder } = lease;
        if Holder::from_octets(holder.octets()).is_none()
            || (self.known.len() >= MOST && !self.known.contains_key(&address))
        {
            return Ok(());
        }
        let line = line(address, &holder);
        self.known.insert(address, holder);
        let known = &self.known;
        self.journal.add(&line, known.len(), || lines(known))
    }
}

fn lines(known: &BTreeMap<IpAddr, Holder>) -> Vec<String> {
    known.iter().map(|(address, holder)| line(*address, holder)).collect()
}

fn line(address: IpAddr, holder: &Holder) -> String {
    format!("{address} {}", hexadecimal(holder.octets()))
}

fn read(line: &str) -> Option<(IpAddr, Holder)> {
    let (address, hex) = line.split_once(' ')?;
    Some((address.parse().ok()?, Holder::from_octets(&octets(hex)?)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn what_is_kept_is_there_again_and_the_last_word_counts() {
        let directory = std::env::temp_dir().join(format!("oakd-leases-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let lease = |address: &str, holder: &[u8]| Lease {
            address: address.parse().unwrap(),
            holder: Holder::from_octets(holder).unwrap(),
        };
        let mut leases = Leases::open(&directory).unwrap();
        leases.keep(lease("10.0.0.1", b"\x02a")).unwrap();
        leases.keep(lease("2001:db8::1", b"\x02b")).unwrap();
        for _ in 0..2000 {
            leases.keep(lease("10.0.0.1", b"\x02c")).unwrap();
        }
        let text = fs::read_to_string(directory.join(NAME)).unwrap();
        assert!(text.lines().count() < 1100, "it grows without end");
        // Whoever wrote the last line was killed while at it.
        fs::write(directory.join(NAME), text + "10.0.0.2 02").unwrap();
        let all: Vec<_> = Leases::open(&directory).unwrap().all().collect();
        let wanted = [
            lease("10.0.0.1", b"\x02c"),
            lease("10.0.0.2", b"\x02"),
            lease("2001:db8::1", b"\x02b"),
        ];
        assert_eq!(all, wanted);
        fs::write(directory.join(NAME), "10.0.0.2\nx 02\n10.0.0.3 0\n10.0.0.4 zz\n").unwrap();
        assert_eq!(Leases::open(&directory).unwrap().all().count(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
