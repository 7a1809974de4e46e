//! oakctl(8): words to a control request, and the printed answer.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use getopts::{Matches, Options};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oakd::conf::{self, ipsecctl, system};
use oakd::ike::event::Command;
use oakd::log::Detail;
use oakd::proc::imsg::{self, Link};
use oakd::proc::message::{Reply, Request, Show, Watch};
use oakd::show;

const SOCKET: &str = "/var/run/oakd.sock";
const FILE: &str = "/etc/oakd.conf";

const BRIEF: &str = "\
usage: oakctl [-j] [-s socket] command
       oakctl -n [-D macro=value] [-f file]

commands:
  show [sa|flows|stats|errors]   what is there; without a word SAs and errors
  monitor                        reports as they come
  trace                          each message, as a ladder
  reload                         read the configuration again
  reset all|sa|id NAME           delete SAs; all: and start again
  log brief|verbose              how much the daemon logs";

/// What was asked for.
enum Action {
    /// These requests, one connection each.
    Ask(Vec<Request>),
    /// Messages only, as a ladder.
    Trace,
    /// Check a configuration file, without a daemon.
    Check,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::new();
    options
        .optflag("d", "", "with -n -v: print how ike rules are deleted")
        .optmulti("D", "", "with -n: define a macro; the file cannot change it", "MACRO=VALUE")
        .optopt("f", "", &format!("with -n: the file (default {FILE})"), "FILE")
        .optflag("h", "help", "show this")
        .optflag("j", "", "print JSON")
        .optflag("k", "", "with -n -v: print keys too")
        .optflag("n", "", "check a configuration file, without a daemon")
        .optopt("s", "", &format!("control socket (default {SOCKET})"), "SOCKET")
        .optflag("v", "", "with -n: print the rules as ipsecctl does");
    let matches = match options.parse(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&options, &error.to_string()),
    };
    if matches.opt_present("h") {
        print!("{}", options.usage(BRIEF));
        return ExitCode::SUCCESS;
    }
    let action = match action(&matches) {
        Ok(action) => action,
        Err(error) => return usage(&options, &error),
    };
    let socket = matches.opt_str("s").unwrap_or(SOCKET.into());
    let json = matches.opt_present("j");
    let outcome = match action {
        Action::Check => check(&matches),
        Action::Ask(requests) => requests
            .iter()
            .try_for_each(|request| ask(&socket, request, &mut |reply| print(reply, json))),
        Action::Trace => ask(&socket, &Request::Monitor(Watch::Messages), &mut |reply| {
            if let Reply::Event(event) = reply {
                match show::rung(event) {
                    Some(_) if json => print(reply, true)?,
                    Some(rung) => line(&rung)?,
                    None => (),
                }
            }
            Ok(())
        }),
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
    eprint!("oakctl: {error}\n{}", options.usage(BRIEF));
    ExitCode::from(2)
}

/// The words to an action.
fn action(matches: &Matches) -> Result<Action, String> {
    let words: Vec<&str> = matches.free.iter().map(String::as_str).collect();
    if matches.opt_present("n") {
        return match words.first() {
            None => Ok(Action::Check),
            Some(word) => Err(format!("-n takes no command, found {word}")),
        };
    }
    if matches.opt_present("f") || matches.opt_present("D") {
        return Err("-f and -D go with -n".into());
    }
    let ask = |request| Ok(Action::Ask(vec![request]));
    match words.as_slice() {
        ["show"] => Ok(Action::Ask(vec![Request::Show(Show::Sas), Request::Show(Show::Failures)])),
        ["show", "sa" | "sas"] => ask(Request::Show(Show::Sas)),
        ["show", "flow" | "flows"] => ask(Request::Show(Show::Flows)),
        ["show", "stats"] => ask(Request::Show(Show::Stats)),
        ["show", "error" | "errors"] => ask(Request::Show(Show::Failures)),
        ["monitor"] => ask(Request::Monitor(Watch::Reports)),
        ["trace"] => Ok(Action::Trace),
        ["reload"] => ask(Request::Reload),
        ["reset", "all"] => ask(Request::Command(Command::ResetAll)),
        ["reset", "sa"] => ask(Request::Command(Command::ResetSa)),
        ["reset", "id", name] => ask(Request::Command(Command::ResetId((*name).to_owned()))),
        ["log", "brief"] => ask(Request::Detail(Detail::Brief)),
        ["log", "verbose"] => ask(Request::Detail(Detail::Verbose)),
        [] => Err("what is to be done?".into()),
        words => Err(format!("unknown command: {}", words.join(" "))),
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
        Reply::Event(event) => show::event(event),
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
        Reply::Event(event) => serde_json::to_string(event),
        other => serde_json::to_string(other),
    }
    .map_err(|error| format!("writing JSON: {error}"))
}

/// A line of output; an empty error if nobody reads it any more.
fn line(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => String::new(),
        _ => format!("standard output: {error}"),
    })
}

/// Reads and checks a configuration file, and tells of everything that is not right.
fn check(matches: &Matches) -> Result<(), String> {
    let file = matches.opt_str("f").unwrap_or(FILE.into());
    let macros = matches.opt_strs("D").into_iter().map(|definition| {
        let parts = definition.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = parts.ok_or(format!("-D {definition}: want macro=value"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let macros = macros.collect::<Result<Vec<_>, String>>()?;
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
    let style =
        ipsecctl::Style { delete: matches.opt_present("d"), keys: matches.opt_present("k") };
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
