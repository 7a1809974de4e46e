//! Whom this host asks for names, while a peer's name servers are to be asked.
//!
//! In this order: resolvd(8) where the kernel takes proposals for it; resolvconf(8) where there is one;
//! else the file itself, if it is a plain one. The file's former content is kept, and comes back unless
//! somebody else has written it meanwhile.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::sys::host;

/// The file that resolvers read.
const FILE: &str = "/etc/resolv.conf";
/// Where resolvconf(8) may be.
const PROGRAMS: [&str; 3] =
    ["/sbin/resolvconf", "/usr/sbin/resolvconf", "/usr/local/sbin/resolvconf"];
/// The name of the former content in the directory for state.
const SAVED: &str = "resolv.conf.saved";
/// The first line of what we write.
const MARK: &str = "# Written by oakd while a tunnel is up; the former content comes back.\n";

/// What is to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The interface that has the addresses within the tunnel.
    pub iface: String,
    /// Whom to ask.
    pub servers: Vec<IpAddr>,
    /// Only about these, unless there are none.
    pub domains: Vec<String>,
}

/// Has them asked.
///
/// # Errors
///
/// Why not, and what to do.
pub fn set(wish: &Wish, state: &Path) -> Result<(), String> {
    let listed = wish.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if wish.domains.is_empty()
        && let Some(outcome) = host::propose_name_servers(&wish.iface, &wish.servers)
    {
        return outcome.map_err(|error| format!("proposing {listed} to resolvd: {error}"));
    }
    if let Some(program) = program() {
        let mut arguments = vec!["-a".to_owned(), name(wish)];
        if !wish.domains.is_empty() {
            // Private: only for the domains that stand in it.
            arguments.insert(0, "-p".into());
        }
        return run(&program, &arguments, &text(wish)).map_err(|error| {
            format!("{}: {error}; ask {listed} by other means", program.display())
        });
    }
    if !wish.domains.is_empty() {
        return Err(format!(
            "the peer's name servers are for {} only, which {FILE} cannot say; have a local resolver \
             (unbound: forward-zone) ask {listed} about them",
            wish.domains.join(", ")
        ));
    }
    write_file(Path::new(FILE), wish, state).map_err(|error| {
        format!("{FILE}: {error}; to use the peer's name servers, enter {listed} there yourself")
    })
}

/// Asks whom it asked before. Doing it twice does no harm.
///
/// # Errors
///
/// What could not be taken back.
pub fn reset(wish: &Wish, state: &Path) -> Result<(), String> {
    if wish.domains.is_empty()
        && let Some(outcome) = host::propose_name_servers(&wish.iface, &[])
    {
        return outcome.map_err(|error| format!("taking the proposal to resolvd back: {error}"));
    }
    if let Some(program) = program() {
        let arguments = ["-d".to_owned(), name(wish)];
        return run(&program, &arguments, "")
            .map_err(|error| format!("{}: {error}", program.display()));
    }
    restore_file(Path::new(FILE), wish, state).map_err(|error| {
        format!("{FILE}: {error}; its former content is in {}", state.join(SAVED).display())
    })
}

fn program() -> Option<PathBuf> {
    PROGRAMS.iter().map(PathBuf::from).find(|path| path.exists())
}

fn name(wish: &Wish) -> String {
    format!("{}.oakd", wish.iface)
}

fn text(wish: &Wish) -> String {
    let servers = wish.servers.iter().map(|server| format!("nameserver {server}\n"));
    let search = match wish.domains.is_empty() {
        true => String::new(),
        false => format!("search {}\n", wish.domains.join(" ")),
    };
    search + &servers.collect::<String>()
}

fn run(program: &Path, arguments: &[String], input: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(status.to_string())),
    }
}

/// The new content: the servers first, then what is not about servers.
fn content(wish: &Wish, former: &str) -> String {
    let others = former.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    MARK.to_owned() + &text(wish) + &others
}

fn write_file(file: &Path, wish: &Wish, state: &Path) -> io::Result<()> {
    let former = match fs::symlink_metadata(file) {
        Ok(found) if found.is_symlink() => {
            let target = fs::read_link(file)?;
            let text = format!("{} takes care of it", target.display());
            return Err(io::Error::other(text));
        }
        Ok(_) => fs::read_to_string(file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    // What we wrote ourselves is no former content.
    if !former.starts_with(MARK) {
        fs::write(state.join(SAVED), &former)?;
    }
    let former = fs::read_to_string(state.join(SAVED))?;
    // In place: it may be mounted by itself.
    fs::write(file, content(wish, &former))
}

fn restore_file(file: &Path, wish: &Wish, state: &Path) -> io::Result<()> {
    let saved = state.join(SAVED);
    let former = match fs::read_to_string(&saved) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if fs::read_to_string(file).is_ok_and(|now| now == content(wish, &former)) {
        fs::write(file, &former)?;
    }
    fs::remove_file(saved)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_comes_back_unless_somebody_else_wrote_it() {
        let state = std::env::temp_dir().join(format!("oakd-resolver-{}", std::process::id()));
        fs::create_dir_all(&state).unwrap();
        let file = state.join("resolv.conf");
        let former = "search home.example\nnameserver 192.0.2.53\noptions edns0\n";
        fs::write(&file, former).unwrap();
        let servers = vec!["10.2.0.53".parse().unwrap()];
        let wish = Wish { iface: "lo1".into(), servers, domains: Vec::new() };
        write_file(&file, &wish, &state).unwrap();
        let now = fs::read_to_string(&file).unwrap();
        assert!(now.contains("nameserver 10.2.0.53\nsearch home.example\n"), "{now}");
        assert!(!now.contains("192.0.2.53"));
        // Once more, as after a crash.
        write_file(&file, &wish, &state).unwrap();
        restore_file(&file, &wish, &state).unwrap();
        restore_file(&file, &wish, &state).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), former);
        write_file(&file, &wish, &state).unwrap();
        fs::write(&file, "nameserver 198.51.100.1\n").unwrap();
        restore_file(&file, &wish, &state).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 198.51.100.1\n");
        fs::remove_dir_all(&state).unwrap();
    }
}
