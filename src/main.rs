//! oakd(8): arguments to a role.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use getopts::{Matches, Options};
use oakd::log::Detail;
use oakd::net::{IKE_PORT, NATT_PORT};
use oakd::proc::child::{self, Part};
use oakd::proc::{Role, ca, control, ike, options, parent, reader, relay};

const FILE: &str = "/etc/oakd.conf";
const KEYS: &str = "/etc/oakd";
const SOCKET: &str = "/var/run/oakd.sock";
const STATE: &str = "/var/db/oakd";
const USER: &str = "_oakd";
const ROOT: &str = "/var/empty";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = options();
    let matches = match options.parse(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&options, &error.to_string()),
    };
    if matches.opt_present("h") {
        // Who reads no further has seen enough.
        let _ = writeln!(io::stdout(), "{}", options.usage(BRIEF));
        return ExitCode::SUCCESS;
    }
    if matches.opt_present("V") {
        println!("oakd {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = matches.opt_str("P") {
        return run_child(&name, &matches);
    }
    let parent_options = match parent_options(&matches) {
        Ok(options) => options,
        Err(error) => return usage(&options, &error),
    };
    let outcome = match matches.opt_present("n") {
        true => check(&parent_options),
        false => parent::run(parent_options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oakd: {error}");
            ExitCode::FAILURE
        }
    }
}

const BRIEF: &str = "usage: oakd [-dnRStVv] [-c directory] [-D macro=value] [-f file] [-i port]\n\
                     \x20           [-K dialect:path] [-k directory] [-l directory] [-p port]\n\
                     \x20           [-s socket] [-u user]";

fn options() -> Options {
    let mut options = Options::new();
    options
        .optopt("c", "", &format!("empty directory for the children (default {ROOT})"), "DIRECTORY")
        .optmulti("D", "", "define a macro; the file cannot change it", "MACRO=VALUE")
        .optflag("d", "", "stay in the foreground, log to standard error")
        .optopt("f", "", &format!("configuration file (default {FILE})"), "FILE")
        .optflag("h", "help", "show this")
        .optopt("i", "", "UDP port for IKE (default 500)", "PORT")
        .optopt(
            "k",
            "",
            &format!("directory of keys and certificates (default {KEYS})"),
            "DIRECTORY",
        )
        .optopt("K", "", "serve the kernel behind a relay's socket", "DIALECT:PATH")
        .optopt(
            "l",
            "",
            &format!("directory for leases and what is set or held (default {STATE})"),
            "DIRECTORY",
        )
        .optflag("n", "", "check the configuration and exit")
        .optopt("p", "", "UDP port for IKE and ESP in UDP (default 4500)", "PORT")
        .optopt("P", "", "run a part of the daemon; it does that itself", "ROLE")
        .optflag("R", "", "pass datagrams through the relay process")
        .optflag("S", "", "passive: never start a negotiation")
        .optopt("s", "", &format!("control socket (default {SOCKET})"), "SOCKET")
        .optflag("t", "", "encapsulate ESP in UDP always")
        .optopt("u", "", &format!("user that the children become (default {USER})"), "USER")
        .optflag("V", "", "show the version")
        .optflagmulti("v", "", "log more; twice: each message");
    options
}

fn usage(options: &Options, error: &str) -> ExitCode {
    eprintln!("oakd: {error}\n{}", options.usage(BRIEF));
    ExitCode::from(2)
}

/// What the parent is to do, from the arguments.
fn parent_options(matches: &Matches) -> Result<options::Options, String> {
    if let Some(extra) = matches.free.first() {
        return Err(format!("unexpected argument {extra}"));
    }
    let text = |name: &str, default: &str| matches.opt_str(name).unwrap_or(default.to_owned());
    let port = |name: &str, default| match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("-{name} {text}: a port is a number from 1 to 65535")),
        },
    };
    let file = text("f", FILE);
    let file = match file.as_str() {
        // A check may read it from standard input; a daemon wants to read it again.
        "-" if matches.opt_present("n") => file,
        "-" => return Err("-f -: only with -n, as the file is read again on SIGHUP".into()),
        _ => absolute(&file)?.to_string_lossy().into_owned(),
    };
    let macros = matches.opt_strs("D").into_iter().map(|definition| {
        let parts = definition.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = parts.ok_or(format!("-D {definition}: want macro=value"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let options = options::Options {
        file,
        macros: macros.collect::<Result<_, String>>()?,
        foreground: matches.opt_present("d"),
        detail: match matches.opt_count("v") {
            0 => Detail::Brief,
            1 => Detail::Verbose,
            _ => Detail::Messages,
        },
        keys: absolute(&text("k", KEYS))?,
        socket: absolute(&text("s", SOCKET))?,
        state: absolute(&text("l", STATE))?,
        user: text("u", USER),
        root: absolute(&text("c", ROOT))?,
        ports: (port("i", IKE_PORT)?, port("p", NATT_PORT)?),
        force_natt: matches.opt_present("t") || matches.opt_present("p"),
        passive: matches.opt_present("S"),
        relay: matches.opt_present("R"),
        kernel: match matches.opt_str("K") {
            Some(text) => text.parse().map_err(|error| format!("-K {error}"))?,
            None => options::KernelAt::here(),
        },
    };
    match options.ports {
        (ike, natt) if ike == natt => Err(format!("-i and -p are both {ike}: they must differ")),
        _ => Ok(options),
    }
}

/// The daemon leaves the directory where it was started.
fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{path}: {error}"))
}

/// Reads and checks the configuration, and tells of everything that is not right.
fn check(options: &options::Options) -> Result<(), String> {
    let checked = options::configuration(options).map_err(|errors| oakd::conf::in_full(&errors))?;
    for diagnostic in &checked.diagnostics {
        eprintln!("{diagnostic}");
    }
    eprintln!("configuration OK");
    Ok(())
}

/// A part of the daemon, started by the parent.
fn run_child(name: &str, matches: &Matches) -> ExitCode {
    let Some(role) = Role::child(name) else {
        eprintln!("oakd: there is no process {name}");
        return ExitCode::from(2);
    };
    if role == Role::Reader {
        return match reader::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("oakd: {role} process: {fault}");
                ExitCode::FAILURE
            }
        };
    }
    let mut part: Box<dyn Part> = match role {
        Role::Ca(number) => Box::new(ca::Ca::new(number)),
        Role::Control => Box::new(control::Control::default()),
        Role::Relay => Box::new(relay::Relay::default()),
        Role::Ike | Role::Parent | Role::Reader => Box::new(ike::Ike::default()),
    };
    let user = matches.opt_str("u").unwrap_or(USER.into());
    let root = matches.opt_str("c").unwrap_or(ROOT.into());
    match child::run(role, &user, Path::new(&root), part.as_mut()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("oakd: {role} process: {fault}");
            ExitCode::FAILURE
        }
    }
}
