//! Who has which address, in a file: it outlives every process and the machine's restart.
//!
//! Each line is an address and its holder's octets; the last line of an address counts. The file is
//! written anew when it has grown to twice what it says.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::ike::pool::{Holder, Lease};

/// The name of the file in the directory for state.
const NAME: &str = "leases";
/// How many leases are kept; more are not remembered.
const MOST: usize = 1 << 18;
/// Lines beyond twice the leases that are borne before the file is written anew.
const SLACK: usize = 1024;

/// The leases that are known.
#[derive(Debug, Default)]
pub struct Leases {
    path: PathBuf,
    known: BTreeMap<IpAddr, Holder>,
    file: Option<File>,
    lines: usize,
}

impl Leases {
    /// Reads what an earlier daemon kept. Lines that are none are passed over.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read or written; then nothing will be kept.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(NAME);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let known: BTreeMap<_, _> = text.lines().filter_map(read).take(MOST).collect();
        let mut leases = Self { path, known, file: None, lines: 0 };
        leases.write_anew()?;
        Ok(leases)
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
        self.lines += 1;
        if self.lines > 2 * self.known.len() + SLACK {
            return self.write_anew();
        }
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => Ok(()),
        }
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        let text: String =
            self.known.iter().map(|(address, holder)| line(*address, holder)).collect();
        file.write_all(text.as_bytes())?;
        fs::rename(&fresh, &self.path)?;
        self.lines = self.known.len();
        self.file = Some(file);
        Ok(())
    }
}

fn line(address: IpAddr, holder: &Holder) -> String {
    let hex: String = holder.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{address} {hex}\n")
}

fn read(line: &str) -> Option<(IpAddr, Holder)> {
    let (address, hex) = line.split_once(' ')?;
    if !hex.is_ascii() || hex.len() % 2 != 0 {
        return None;
    }
    let octets: Result<Vec<u8>, _> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16)).collect();
    Some((address.parse().ok()?, Holder::from_octets(&octets.ok()?)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
