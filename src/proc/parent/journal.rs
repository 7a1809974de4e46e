//! Lines in a file that say what is so: the last line about a thing counts. The file is written anew
//! when it has grown to twice what it says.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Lines beyond twice the necessary ones that are borne before the file is written anew.
const SLACK: usize = 1024;

/// A file of lines, private to root. The default is none: nothing is kept.
#[derive(Debug, Default)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
}

impl Journal {
    /// The text of a file in the directory for state; empty if there is none.
    pub fn read(directory: &Path, name: &str) -> io::Result<String> {
        match fs::read_to_string(directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        }
    }

    /// A file that begins with these lines.
    pub fn begin(directory: &Path, name: &str, lines: &[String]) -> io::Result<Self> {
        let mut journal = Self { path: directory.join(name), ..Self::default() };
        journal.write_anew(lines)?;
        Ok(journal)
    }

    /// Adds a line; `necessary` are all that would do, if they are to be had.
    pub fn add(
        &mut self,
        line: &str,
        count: usize,
        necessary: impl FnOnce() -> Vec<String>,
    ) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        self.lines += 1;
        if self.lines > 2 * count + SLACK {
            return self.write_anew(&necessary());
        }
        file.write_all(format!("{line}\n").as_bytes())
    }

    fn write_anew(&mut self, lines: &[String]) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&fresh)?;
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        file.write_all(text.as_bytes())?;
        fs::rename(&fresh, &self.path)?;
        (self.lines, self.file) = (lines.len(), Some(file));
        Ok(())
    }
}

/// Octets as digits.
pub fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The octets of digits.
pub fn octets(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}
