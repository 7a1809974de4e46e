//! Where reports go: standard error, the system log, or the parent.
//!
//! Children are in an empty root directory and a sandbox, where no log socket can be reached; so they
//! hand their lines to the parent, which has the only log. That gives one order of lines, and a
//! restart of the system's logger is nobody's concern but the parent's.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::conf::counted;
pub use crate::ike::report::Level;
use crate::sys;

/// How many lines may wait to be handed to the parent.
const MAX_WAITING: usize = 1000;
/// The longest text of a line, in octets.
const MAX_TEXT: usize = 8 * 1024;

/// One line: what happened, with whom, why, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub text: String,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Detail {
    /// What a person wants to know.
    #[default]
    Brief,
    /// And what helps to find a fault.
    Verbose,
    /// And each message.
    Messages,
}

impl std::fmt::Display for Detail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Brief => "brief",
            Self::Verbose => "verbose",
            Self::Messages => "verbose, with each message",
        })
    }
}

impl Detail {
    /// Whether lines of this level are told.
    pub fn tells(self, level: Level) -> bool {
        match level {
            Level::Error | Level::Notice | Level::Info => true,
            Level::Debug => self >= Self::Verbose,
            Level::Trace => self >= Self::Messages,
        }
    }
}

/// A connection to the system's logger.
type Connection = syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>;

/// Where the lines of a process go.
enum Sink {
    Stderr,
    /// A connection to the system's logger, made anew when it broke.
    Syslog(Option<Connection>),
    Parent {
        waiting: VecDeque<Line>,
        lost: usize,
    },
}

/// The log of a process.
pub struct Log {
    sink: Sink,
    detail: Detail,
}

impl Log {
    /// To standard error, with the time.
    pub fn stderr(detail: Detail) -> Self {
        Self { sink: Sink::Stderr, detail }
    }

    /// To the system log, facility daemon.
    pub fn syslog(detail: Detail) -> Self {
        sys::open_syslog();
        Self { sink: Sink::Syslog(connect()), detail }
    }

    /// To the parent, who comes for [`Log::take`].
    pub fn parent(detail: Detail) -> Self {
        Self { sink: Sink::Parent { waiting: VecDeque::new(), lost: 0 }, detail }
    }

    /// How much is told from now on.
    pub fn set_detail(&mut self, detail: Detail) {
        self.detail = detail;
    }

    /// How much is told.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// Something does not work and needs a person.
    pub fn error(&mut self, text: impl Into<String>) {
        self.line(Level::Error, text);
    }

    /// Something that a person wants to know.
    pub fn notice(&mut self, text: impl Into<String>) {
        self.line(Level::Notice, text);
    }

    /// The normal course of things.
    pub fn info(&mut self, text: impl Into<String>) {
        self.line(Level::Info, text);
    }

    /// What helps to find a fault.
    pub fn debug(&mut self, text: impl Into<String>) {
        self.line(Level::Debug, text);
    }

    /// A line of this process.
    pub fn line(&mut self, level: Level, text: impl Into<String>) {
        self.write("parent", Line { level, text: text.into() });
    }

    /// A line of a process, which only the parent's log names.
    pub fn write(&mut self, process: &str, line: Line) {
        if !self.detail.tells(line.level) {
            return;
        }
        let Line { level, text } = line;
        match &mut self.sink {
            Sink::Parent { waiting, lost } if waiting.len() >= MAX_WAITING => {
                waiting.pop_front();
                *lost += 1;
                waiting.push_back(Line { level, text: bounded(text) });
            }
            Sink::Parent { waiting, .. } => {
                waiting.push_back(Line { level, text: bounded(text) });
            }
            Sink::Stderr => {
                // One write for a line: cheap, and whole should another process write there too.
                let time = utc(SystemTime::now());
                let line = format!("{time} {process}: {}\n", printable(&text));
                // Nobody can be told that nobody listens, and the daemon must outlive its terminal.
                let _ = io::stderr().write_all(line.as_bytes());
            }
            Sink::Syslog(connection) => {
                let line = format!("{process}: {}", printable(&text));
                to_syslog(connection, level, &line);
            }
        }
    }

    /// The lines that wait for the parent.
    pub fn take(&mut self) -> Vec<Line> {
        let Sink::Parent { waiting, lost } = &mut self.sink else { return Vec::new() };
        let mut lines: Vec<Line> = waiting.drain(..).collect();
        let lost = std::mem::take(lost);
        if lost > 0 {
            let lost = counted(lost, "log line", "log lines");
            let text = format!("too many log lines at once: {lost} lost");
            lines.push(Line { level: Level::Error, text });
        }
        lines
    }
}

fn connect() -> Option<Connection> {
    syslog::unix(syslog::Formatter3164 {
        facility: syslog::Facility::LOG_DAEMON,
        hostname: None,
        process: "oakd".into(),
        pid: std::process::id(),
    })
    .ok()
}

/// Hands a line to the system's logger. Where it has no socket (OpenBSD's takes sendsyslog(2) alone)
/// or does not listen, syslog(3) may know another way.
fn to_syslog(connection: &mut Option<Connection>, level: Level, line: &str) {
    if connection.is_none() {
        *connection = connect();
    }
    let sent = connection.as_mut().map(|logger| match level {
        Level::Error => logger.err(line),
        Level::Notice => logger.notice(line),
        Level::Info => logger.info(line),
        Level::Debug | Level::Trace => logger.debug(line),
    });
    if !matches!(sent, Some(Ok(()))) {
        *connection = None;
        sys::syslog(priority(level), line);
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> i32 {
    match level {
        Level::Error => libc::LOG_ERR,
        Level::Notice => libc::LOG_NOTICE,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    }
}

/// The text, cut where it is too long.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A log holds lines of visible characters, whatever a peer sent.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A time as `2026-11-24T01:45:11Z`.
pub fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (since / 86_400, since % 86_400);
    // Days are counted in eras of 400 years that begin on the first of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn detail_decides_what_is_told() {
        let mut log = Log::parent(Detail::Brief);
        log.debug("hidden");
        log.info("seen");
        log.set_detail(Detail::Verbose);
        log.debug("seen too");
        let texts: Vec<String> = log.take().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["seen", "seen too"]);
    }

    #[test]
    fn a_flood_loses_the_oldest_and_says_so() {
        let mut log = Log::parent(Detail::Brief);
        for n in 0..MAX_WAITING + 5 {
            log.info(n.to_string());
        }
        let lines = log.take();
        assert_eq!(lines.len(), MAX_WAITING + 1);
        assert_eq!(lines.first().map(|l| l.text.as_str()), Some("5"));
        assert!(lines.last().is_some_and(|l| l.text.ends_with("5 log lines lost")));
    }

    #[test]
    fn nothing_in_a_text_can_forge_a_line() {
        assert_eq!(printable("a\nb\x1b[2J"), "a?b?[2J");
    }
}
