//! oakctl(8): words to a control request, and the printed answer.

#[path = "oakctl/ca.rs"]
mod ca;
#[path = "oakctl/kernel.rs"]
mod kernel;

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::SystemTime;

use getopts::{Matches, Options};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oakd::capture;
use oakd::conf::{self, ipsecctl, system};
use oakd::ike::event::Command;
use oakd::ike::view::IkeKeys;
use oakd::log::Detail;
use oakd::proc::imsg::{self, Link};
use oakd::proc::message::{Event, Reply, Request, Show, Watch};
use oakd::show;

use kernel::Step;

const SOCKET: &str = "/var/run/oakd.sock";
const FILE: &str = "/etc/oakd.conf";

const BRIEF: &str = "\
usage: oakctl [-j] [-S socket] command
       oakctl [-j] [-S socket] [-K file] [-w file] trace [peer]
       oakctl [-cdFjkmnv] [-D macro=value] [-f file] [-s all|flow|sa]
       oakctl [-q] [--key kind] [--ssl directory] ca name ...

commands:
  show [sa|flows|stats|errors|certs]
                                 what is there; without a word SAs and errors
  explain PEER                   why it failed last with this peer, and what to do
  monitor [PEER]                 reports as they come
  trace [PEER]                   each message, as a ladder; -w: into a file for
                                 Wireshark, -K: with the keys that open it
  reload                         read the configuration again
  reset all|sa|id NAME           delete SAs; all: and start again
  rekey ike|child NAME           new keys for a peer's IKE SA, or its child SAs
  log brief|verbose              how much the daemon logs
  ca NAME create|delete|install|export|show
  ca NAME certificate HOST create|delete|install|export|revoke
  ca NAME key HOST create|delete|install|import
                                 a small certification authority";

/// What was asked for.
enum Action {
    /// These requests, one connection each.
    Ask(Vec<Request>),
    /// Messages only, as a ladder.
    Trace(Option<String>),
    /// The last failure with a peer.
    Explain(String),
    /// Check a configuration file, without a daemon.
    Check,
    /// Keep an authority, without a daemon.
    Ca(Vec<String>),
    /// What ipsecctl does with the kernel, without a daemon.
    Kernel(Vec<Step>),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::new();
    options
        .optflag("c", "", "with -s: flows that differ in addresses alone on one line")
        .optflag("d", "", "with -f: delete what the file loads; with -n -v: print how")
        .optmulti("D", "", "define a macro; the file cannot change it", "MACRO=VALUE")
        .optflag("F", "", "flush the kernel's flows and SAs, the daemon's too")
        .optopt("f", "", &format!("load this file's flows and SAs; -n: {FILE}"), "FILE")
        .optflag("h", "help", "show this")
        .optopt("i", "", "accepted; there is no isakmpd to be told", "FIFO")
        .optflag("j", "", "print JSON")
        .optflag("k", "", "with -s sa, or -n -v: print keys")
        .optopt("K", "", "with trace: write keys for Wireshark", "FILE")
        .optflag("m", "", "show what is said on PF_KEY, as it comes")
        .optflag("n", "", "check a configuration file, load nothing")
        .optopt("S", "socket", &format!("control socket (default {SOCKET})"), "SOCKET")
        .optopt("s", "", "show what the kernel holds", "all|flow|sa")
        .optflagmulti(
            "v",
            "",
            "with -n: print the rules as ipsecctl does; twice: number them; with -s sa: all",
        )
        .optopt("", "key", "with ca: kind of new keys (p256, p384, p521, ed25519, rsa2048)", "KIND")
        .optflag("q", "", "with ca: ask nothing")
        .optopt(
            "",
            "ssl",
            &format!("with ca: where authorities are (default {})", ca::BASE),
            "DIRECTORY",
        )
        .optopt("w", "", "with trace: write the datagrams for Wireshark", "FILE");
    let matches = match options.parse(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&options, &error.to_string()),
    };
    if matches.opt_present("h") {
        // Who reads no further has seen enough.
        let _ = writeln!(io::stdout(), "{}", options.usage(BRIEF));
        return ExitCode::SUCCESS;
    }
    let action = match action(&matches) {
        Ok(action) => action,
        Err(error) => return usage(&options, &error),
    };
    let socket = matches.opt_str("S").unwrap_or(SOCKET.into());
    let json = matches.opt_present("j");
    let outcome = match action {
        Action::Check => check(&matches),
        Action::Ca(words) => {
            ca::Manner::from(&matches).and_then(|manner| line(&ca::run(&words, &manner)?))
        }
        Action::Kernel(steps) => kernel::run(&matches, &steps),
        Action::Ask(requests) => requests
            .iter()
            .try_for_each(|request| ask(&socket, request, &mut |reply| print(reply, json))),
        Action::Trace(whom) => trace(&matches, &socket, whom, json),
        Action::Explain(whom) => explain(&socket, &whom, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if error.is_empty() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oakctl: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(options: &Options, error: &str) -> ExitCode {
    eprintln!("oakctl: {error}\n{}", options.usage(BRIEF));
    ExitCode::from(2)
}

/// The words to an action.
fn action(matches: &Matches) -> Result<Action, String> {
    let words: Vec<&str> = matches.free.iter().map(String::as_str).collect();
    let steps = kernel::steps(matches)?;
    if let (true, Some(word)) = (matches.opt_present("n") || !steps.is_empty(), words.first()) {
        return Err(format!("-F, -f, -m, -n and -s take no command, found {word}"));
    }
    if matches.opt_present("n") && (steps.is_empty() || steps == [Step::Load]) {
        return Ok(Action::Check);
    }
    if !steps.is_empty() {
        return Ok(Action::Kernel(steps));
    }
    if let Some(alone) = ["c", "d", "D", "k"].iter().find(|option| matches.opt_present(option)) {
        return Err(format!("-{alone} goes with -f, -n or -s"));
    }
    let files = matches.opt_present("w") || matches.opt_present("K");
    if files && words.first() != Some(&"trace") {
        return Err("-w and -K go with trace".into());
    }
    let ask = |request| Ok(Action::Ask(vec![request]));
    match words.as_slice() {
        ["show"] => Ok(Action::Ask(vec![Request::Show(Show::Sas), Request::Show(Show::Failures)])),
        ["show", "sa" | "sas"] => ask(Request::Show(Show::Sas)),
        ["show", "flow" | "flows"] => ask(Request::Show(Show::Flows)),
        ["show", "cert" | "certs"] => ask(Request::Show(Show::Certs)),
        ["show", "stats"] => ask(Request::Show(Show::Stats)),
        ["show", "error" | "errors"] => ask(Request::Show(Show::Failures)),
        ["explain", whom] => Ok(Action::Explain((*whom).to_owned())),
        ["ca", ..] => Ok(Action::Ca(matches.free[1..].to_vec())),
        ["show", "ca", name, "certificates", host @ ..] => {
            let words = [*name, "show"].into_iter().chain(host.iter().copied());
            Ok(Action::Ca(words.map(str::to_owned).collect()))
        }
        ["monitor"] => ask(Request::Monitor { watch: Watch::Reports, whom: None }),
        ["monitor", whom] => {
            ask(Request::Monitor { watch: Watch::Reports, whom: Some((*whom).to_owned()) })
        }
        ["trace"] => Ok(Action::Trace(None)),
        ["trace", whom] => Ok(Action::Trace(Some((*whom).to_owned()))),
        ["reload"] => ask(Request::Reload),
        ["reset", "all"] => ask(Request::Command(Command::ResetAll)),
        ["reset", "sa"] => ask(Request::Command(Command::ResetSa)),
        ["reset", "id", name] => ask(Request::Command(Command::ResetId((*name).to_owned()))),
        ["rekey", what @ ("ike" | "child"), name] => {
            let (name, ike) = ((*name).to_owned(), *what == "ike");
            ask(Request::Command(Command::Rekey { name, ike }))
        }
        ["log", "brief"] => ask(Request::Detail(Detail::Brief)),
        ["log", "verbose"] => ask(Request::Detail(Detail::Verbose)),
        [] => Err("what is to be done?".into()),
        words => Err(format!("unknown command: {}", words.join(" "))),
    }
}

/// Prints messages as they come, and writes them and their keys to files.
fn trace(matches: &Matches, socket: &str, whom: Option<String>, json: bool) -> Result<(), String> {
    let packets = matches.opt_str("w").map(|path| Sink::new(path, false)).transpose()?;
    let keys = matches.opt_str("K").map(|path| Sink::new(path, true)).transpose()?;
    let (mut packets, mut keys) = (packets, keys);
    if let Some(sink) = &mut packets {
        sink.write(&capture::head())?;
    }
    let watch = match (&packets, &keys) {
        (_, Some(_)) => Watch::Keys,
        (Some(_), None) => Watch::Packets,
        (None, None) => Watch::Messages,
    };
    let mut v1_keys: Option<Sink> = None;
    ask(socket, &Request::Monitor { watch, whom }, &mut |reply| match reply {
        Reply::Event(event) => match show::rung(event) {
            Some(_) if json => print(reply, true),
            Some(rung) => line(&rung),
            None => Ok(()),
        },
        Reply::Packet(packet) => match &mut packets {
            Some(sink) => sink.write(&capture::packet(packet)),
            None => Ok(()),
        },
        Reply::Keys(shown) => {
            let Some(sink) = &mut keys else { return Ok(()) };
            let sink = match **shown {
                IkeKeys::V2 { .. } => sink,
                // Wireshark has a table of its own for these.
                IkeKeys::V1 { .. } => match &mut v1_keys {
                    Some(sink) => sink,
                    empty => empty.insert(Sink::new(format!("{}.ikev1", sink.path), true)?),
                },
            };
            match capture::table_line(shown) {
                Ok(row) => sink.write(format!("{row}\n").as_bytes()),
                Err(why) => sink.write(format!("# {why}\n").as_bytes()),
            }
        }
        Reply::Lost(_) => print(reply, json),
        _ => Ok(()),
    })
}

/// A file that is written as things come; for its owner alone.
struct Sink {
    path: String,
    file: File,
}

impl Sink {
    /// Creates it. One with secrets must not be readable by others from before.
    fn new(path: String, secret: bool) -> Result<Self, String> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let opened = options.open(&path).and_then(|file| {
            if secret {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            Ok(file)
        });
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), String> {
        self.file.write_all(octets).map_err(|error| format!("{}: {error}", self.path))
    }
}

/// Prints the last failure with a peer, in full.
fn explain(socket: &str, whom: &str, json: bool) -> Result<(), String> {
    let mut last: Option<Event> = None;
    ask(socket, &Request::Show(Show::Failures), &mut |reply| {
        if let Reply::Event(event) = reply
            && event.report.concerns(whom)
            && last.as_ref().is_none_or(|last| last.at <= event.at)
        {
            last = Some(event.clone());
        }
        Ok(())
    })?;
    match last {
        Some(event) if json => print(&Reply::Event(event), true),
        Some(event) => line(&show::explanation(&event)),
        None => Err(format!(
            "nothing failed with {whom} since it last succeeded (or since the daemon started); \
             `oakctl show` tells what stands, and names policies and identities"
        )),
    }
}

/// Asks the daemon, and hands on what it says until it is done.
fn ask(
    socket: &str,
    request: &Request,
    each: &mut dyn FnMut(&Reply) -> Result<(), String>,
) -> Result<(), String> {
    let stream = UnixStream::connect(socket)
        .map_err(|error| format!("{socket}: {error}; is oakd running, and are you root?"))?;
    let said = |error: imsg::Error| format!("{socket}: {error}");
    let link: Result<Link<Request, Reply>, _> = Link::new(OwnedFd::from(stream));
    let mut link = link.map_err(|error| format!("{socket}: {error}"))?;
    match link.send(request) {
        // What the daemon said before it closed may still be read.
        Ok(()) | Err(imsg::Error::Closed) => (),
        Err(error) => return Err(said(error)),
    }
    loop {
        let Some((reply, _)) = link.recv().map_err(said)? else {
            let mut wait = [PollFd::new(std::os::fd::AsFd::as_fd(&link), PollFlags::POLLIN)];
            match poll(&mut wait, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(format!("{socket}: {error}")),
            }
        };
        match reply {
            Reply::Done(text) if text.is_empty() => return Ok(()),
            Reply::Done(text) => return line(&text),
            Reply::Refused(text) => return Err(text),
            item => each(&item)?,
        }
    }
}

/// One item, for a person or for a program (a JSON value per line).
fn print(reply: &Reply, json: bool) -> Result<(), String> {
    let text = match reply {
        _ if json => json_of(reply)?,
        Reply::Sa(view) => show::sa(view),
        Reply::Flow(view) => show::flow(view),
        Reply::Stats(stats) => show::stats(stats).trim_end().to_owned(),
        Reply::Cert(view) => show::cert(view, SystemTime::now()),
        Reply::Event(event) => show::event(event),
        Reply::Packet(_) | Reply::Keys(_) => return Ok(()),
        Reply::Lost(count) => format!("({count} reports are missing here)"),
        Reply::Done(text) | Reply::Refused(text) => text.clone(),
    };
    line(text.trim_end_matches('\n'))
}

/// The value without the name of its kind, which the command says already.
fn json_of(reply: &Reply) -> Result<String, String> {
    match reply {
        Reply::Sa(view) => serde_json::to_string(view),
        Reply::Flow(view) => serde_json::to_string(view),
        Reply::Stats(stats) => serde_json::to_string(stats),
        Reply::Cert(view) => serde_json::to_string(view),
        Reply::Event(event) => serde_json::to_string(event),
        other => serde_json::to_string(other),
    }
    .map_err(|error| format!("writing JSON: {error}"))
}

/// A line of output; an empty error if nobody reads it any more.
fn line(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => String::new(),
        _ => format!("standard output: {error}"),
    })
}

/// The macros defined on the command line.
fn macros(matches: &Matches) -> Result<Vec<(String, String)>, String> {
    let macros = matches.opt_strs("D").into_iter().map(|definition| {
        let parts = definition.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = parts.ok_or(format!("-D {definition}: want macro=value"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    macros.collect()
}

/// Reads and checks a configuration file, and tells of everything that is not right.
fn check(matches: &Matches) -> Result<(), String> {
    let file = matches.opt_str("f").unwrap_or(FILE.into());
    let macros = macros(matches)?;
    if matches.opt_present("v") {
        return list(matches, &file, &macros);
    }
    let loaded = conf::load(&file, &macros, &system::SystemFiles, &system::SystemNames);
    let (diagnostics, good) = match loaded {
        Ok(checked) => (checked.diagnostics, true),
        Err(diagnostics) => (diagnostics, false),
    };
    let json = matches.opt_present("j");
    for diagnostic in &diagnostics {
        match json {
            true => line(&serde_json::to_string(diagnostic).map_err(|e| e.to_string())?)?,
            false => eprintln!("{diagnostic}"),
        }
    }
    match good {
        true if json => Ok(()),
        true => line("configuration OK"),
        false => Err(format!("{file} is not right")),
    }
}

/// Prints the rules of a file and the errors in it as ipsecctl(8) does.
fn list(matches: &Matches, file: &str, macros: &[(String, String)]) -> Result<(), String> {
    let style = ipsecctl::Style {
        delete: matches.opt_present("d"),
        keys: matches.opt_present("k"),
        numbers: matches.opt_count("v") > 1,
    };
    let (files, names) = (&system::SystemFiles, &system::SystemNames);
    let listing = ipsecctl::list(file, macros, files, names, style);
    eprint!("{}", listing.errors);
    if !listing.output.is_empty() {
        line(listing.output.trim_end_matches('\n'))?;
    }
    if listing.failed {
        std::process::exit(1);
    }
    Ok(())
}
