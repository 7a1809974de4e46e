//! What of ours in the kernel nothing there tells as ours, in a file: after a crash the next daemon
//! takes care of it. What was written before the machine's start is of no kernel that runs.
//!
//! Each line is `+`, the time and what it is, or `-` and what it was.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::journal::{Journal, hexadecimal, octets};
use crate::kernel::{Kept, Left, Note};
use crate::sys;

/// The name of the file in the directory for state.
const NAME: &str = "kernel";
/// How much is kept; more is not remembered.
const MOST: usize = 1 << 18;

/// What is kept, and since when.
#[derive(Debug, Default)]
pub struct Record {
    kept: HashMap<Kept, u64>,
    journal: Journal,
}

impl Record {
    /// Reads what an earlier daemon kept since the machine's start. Lines that are none are passed over.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read or written; then nothing will be kept.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let written = fs::metadata(directory.join(NAME)).and_then(|file| file.modified()).ok();
        let started = sys::uptime().and_then(|uptime| SystemTime::now().checked_sub(uptime));
        // A clock that was set meanwhile makes it seem older than it is: then it is not believed.
        let current = written.zip(started).is_some_and(|(written, started)| written >= started);
        let text = if current { Journal::read(directory, NAME)? } else { String::new() };
        let mut kept = HashMap::new();
        for line in text.lines() {
            match read(line) {
                Some((what, Some(since))) if kept.len() < MOST => drop(kept.insert(what, since)),
                Some((what, None)) => drop(kept.remove(&what)),
                _ => (),
            }
        }
        let journal = Journal::begin(directory, NAME, &lines(&kept))?;
        Ok(Self { kept, journal })
    }

    /// Only what the kernel, which told these flows, may still hold.
    pub fn compare(&mut self, flows: &[pfkey::Flow]) {
        self.kept.retain(|what, _| what.may_be_held(flows));
    }

    /// All of it.
    pub fn all(&self) -> Vec<Left> {
        let left = |(what, since): (&Kept, &u64)| Left { what: what.clone(), since: *since };
        self.kept.iter().map(left).collect()
    }

    /// Takes a change down.
    ///
    /// # Errors
    ///
    /// It could not be written; it is known as long as this process lives.
    pub fn note(&mut self, note: Note) -> io::Result<()> {
        let Note { there, what } = note;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let since = there.then_some(since.as_secs());
        let line = line(&what, since);
        match since {
            Some(_) if self.kept.len() >= MOST => return Ok(()),
            Some(since) => drop(self.kept.insert(what, since)),
            None => drop(self.kept.remove(&what)),
        }
        let kept = &self.kept;
        self.journal.add(&line, kept.len(), || lines(kept))
    }
}

fn lines(kept: &HashMap<Kept, u64>) -> Vec<String> {
    kept.iter().map(|(what, since)| line(what, Some(*since))).collect()
}

fn line(what: &Kept, since: Option<u64>) -> String {
    let what = hexadecimal(&postcard::to_stdvec(what).unwrap_or_default());
    match since {
        Some(since) => format!("+ {since} {what}"),
        None => format!("- {what}"),
    }
}

fn read(line: &str) -> Option<(Kept, Option<u64>)> {
    let what = |hex: &str| postcard::from_bytes(&octets(hex)?).ok();
    match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["+", since, hex] => Some((what(hex)?, Some(since.parse().ok()?))),
        ["-", hex] => Some((what(hex)?, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sa(spi: u32) -> Kept {
        let (src, dst) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        Kept::Sa { protocol: 50, spi, src, dst }
    }

    #[test]
    fn what_is_kept_is_there_again_unless_the_machine_was_started_since() {
        let directory = std::env::temp_dir().join(format!("oakd-record-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let mut record = Record::open(&directory).unwrap();
        for spi in 1000..4000 {
            record.note(Note { there: true, what: sa(spi) }).unwrap();
            record.note(Note { there: spi == 3000, what: sa(spi) }).unwrap();
        }
        let file = directory.join(NAME);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.lines().count() < 1100, "it grows without end");
        // Whoever wrote the last line was killed while at it.
        fs::write(&file, text + "+ 12").unwrap();
        let all = Record::open(&directory).unwrap().all();
        assert_eq!(all.iter().map(|left| &left.what).collect::<Vec<_>>(), [&sa(3000)]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(all[0].since.abs_diff(now) < 60);
        let uptime = sys::uptime().unwrap();
        let before = SystemTime::now() - uptime - Duration::from_secs(60);
        let opened = fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(before).unwrap();
        assert_eq!(Record::open(&directory).unwrap().all(), []);
        fs::remove_dir_all(&directory).unwrap();
    }
}
