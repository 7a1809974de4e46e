//! The process that reads: the configuration, with what it includes, and the files of keys. It is started
//! by the parent whenever something is to be read, as root, and ends when it has handed over what it
//! read: the configuration to the parent, the secrets to every `ca`. So no secret is ever in the parent,
//! and a name that is looked up slowly holds up nobody.
//!
//! ```text
//!            Order                Told (no secrets)
//!   parent ────────> reader ──────────────> parent
//!                          └──────────────> ca
//!                                 Handed (the secrets)
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::imsg::{self, Link};
use super::options::{Options, configuration};
use super::{Role, sandbox};
use crate::conf::{Checked, Diagnostic, Globals, Policy, PolicyName, PolicySecret, UserSecret};
use crate::crypto::Secret;
use crate::pki;
use crate::pki::files::{self, KeyFile};
use crate::sys;

/// How long it waits for somebody who does not read.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much of a file goes into one message.
const PIECE: usize = 32 * 1024;

/// From the parent to the reader.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// A way to a `ca`; comes with a descriptor. After [`Told::Good`]; the parent closes the link when
    /// it has said all.
    Ca,
    /// Read. The first one.
    Read {
        /// What the command line said.
        options: Box<Options>,
        /// Passphrases may be asked for on the terminal.
        ask: bool,
        /// Makes of the secrets something that can be compared with others of this run, and nothing else.
        salt: [u8; 32],
    },
}

/// From the reader to the parent: first all of the configuration, then `Good` or `Bad`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Told {
    /// Something is wrong with the configuration, or unwise.
    Diagnostic(Box<Diagnostic>),
    /// Something is wrong with the files of keys.
    Remark(String),
    /// The `set` lines.
    Globals(Box<Globals>),
    /// A policy.
    Policy(Box<Policy>),
    /// A policy that waits for a host name.
    Unresolved(PolicyName),
    /// All of it can be used. The secrets follow on the ways to `ca`.
    Good {
        /// What the secrets are, salted.
        print: [u8; 32],
    },
    /// It cannot be used.
    Bad,
}

/// From the reader to a `ca`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Handed {
    /// How the files are to be taken.
    Options(pki::Options),
    /// The pre-shared key of a policy.
    Psk(PolicySecret),
    /// A user's password.
    User(UserSecret),
    /// A file, or the next piece of it.
    File(KeyFile),
    /// What opens a file.
    Passphrase {
        /// Which.
        file: String,
        /// The words.
        words: Secret,
    },
    /// That was all: it takes the place of what was there.
    End,
}

/// Everything that is secret.
struct Secrets {
    options: pki::Options,
    psks: Vec<PolicySecret>,
    users: Vec<UserSecret>,
    files: Vec<KeyFile>,
    passphrases: BTreeMap<String, Secret>,
}

/// Runs the reader.
///
/// # Errors
///
/// A link that breaks.
pub fn run() -> Result<(), imsg::Error> {
    sys::set_title(Role::Reader.name());
    sys::ignore_signals(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM])?;
    sys::forbid_core_files()?;
    let mut parent: Link<Told, Order> = Link::new(sys::take_stdin()?)?;
    let (options, ask, salt) = loop {
        if let (Order::Read { options, ask, salt }, _) = next(&mut parent)? {
            break (options, ask, salt);
        }
    };
    sandbox::enter(Role::Reader)?;
    let (checked, mut secrets) = match configuration(&options) {
        Ok(mut checked) => {
            mark_keys(&mut checked, &salt).map_err(io::Error::other)?;
            let secrets = gather(&mut checked, &options, &mut parent)?;
            (checked, secrets)
        }
        Err(errors) => {
            for error in errors {
                tell(&mut parent, &Told::Diagnostic(Box::new(error)))?;
            }
            return tell(&mut parent, &Told::Bad);
        }
    };
    let Checked { config, unresolved, diagnostics, .. } = checked;
    for diagnostic in diagnostics {
        tell(&mut parent, &Told::Diagnostic(Box::new(diagnostic)))?;
    }
    tell(&mut parent, &Told::Globals(Box::new(config.globals)))?;
    for policy in config.policies {
        tell(&mut parent, &Told::Policy(Box::new(policy)))?;
    }
    for name in unresolved {
        tell(&mut parent, &Told::Unresolved(name))?;
    }
    if ask {
        passphrases(&mut secrets, &mut parent)?;
    }
    let print = print(&secrets, &salt).map_err(io::Error::other)?;
    tell(&mut parent, &Told::Good { print })?;
    for way in ways(&mut parent)? {
        // A `ca` that is gone gets them from the next reader.
        let _ = hand(Link::new(way)?, &secrets);
    }
    Ok(())
}

/// The ways to those who are to have the secrets; none where they are not wanted after all.
fn ways(parent: &mut Link<Told, Order>) -> Result<Vec<OwnedFd>, imsg::Error> {
    let mut ways = Vec::new();
    loop {
        match next(parent) {
            Ok((_, way)) => ways.extend(way),
            Err(imsg::Error::Closed) => return Ok(ways),
            Err(error) => return Err(error),
        }
    }
}

/// The secrets of a configuration, and the files of keys.
fn gather(
    checked: &mut Checked,
    options: &Options,
    parent: &mut Link<Told, Order>,
) -> Result<Secrets, imsg::Error> {
    let (files, remarks) = read_files(&options.keys);
    for remark in remarks {
        tell(parent, &Told::Remark(remark))?;
    }
    let globals = &checked.config.globals;
    let (partial_chain, warn_days) = (globals.cert_partial_chain, globals.cert_expiry_warning);
    let (rsa_pss, ocsp) = (globals.rsa_pss, globals.ocsp.clone());
    Ok(Secrets {
        options: pki::Options { partial_chain, warn_days, rsa_pss, ocsp, at: None },
        psks: std::mem::take(&mut checked.secrets),
        users: std::mem::take(&mut checked.users),
        files,
        passphrases: BTreeMap::new(),
    })
}

/// Reads the directory of keys; what is not there is not needed.
fn read_files(directory: &Path) -> (Vec<KeyFile>, Vec<String>) {
    let (mut read, mut remarks) = (Vec::new(), Vec::new());
    for folder in files::FOLDERS {
        let Ok(entries) = fs::read_dir(directory.join(folder)) else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        for name in names {
            if read.len() >= files::MOST {
                remarks
                    .push(format!("{folder}: more than {} files: no more are read", files::MOST));
                return (read, remarks);
            }
            let name = format!("{folder}/{name}");
            match read_file(&directory.join(&name), *folder == "private") {
                Ok(Some(octets)) => read.push(KeyFile { name, octets }),
                Ok(None) => (),
                Err(why) => remarks.push(format!("{}: {why}", directory.join(&name).display())),
            }
        }
    }
    (read, remarks)
}

/// A whole file; `None` if it is none but a directory, say. A private key that others can read is not
/// taken.
fn read_file(path: &Path, private: bool) -> Result<Option<Secret>, String> {
    // Whoever put a FIFO there must not make us wait.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let mut file = file.map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Ok(None);
    }
    if private && (about.mode() & 0o077 != 0 || about.uid() != 0) {
        let (mode, uid) = (about.mode() & 0o777, about.uid());
        return Err(format!(
            "others can read or own this private key (mode {mode:03o}, user {uid}): it is left out"
        ));
    }
    let size = usize::try_from(about.len()).unwrap_or(usize::MAX);
    if size > files::LARGEST {
        return Err(format!("{size} octets, at most {} are read", files::LARGEST));
    }
    // Room for all, so that no copy of it stays behind.
    let mut octets = Zeroizing::new(vec![0; size]);
    file.read_exact(&mut octets).map_err(|error| error.to_string())?;
    Ok(Some(Secret::from(octets.as_slice())))
}

/// Asks for the passphrases of what is encrypted.
fn passphrases(secrets: &mut Secrets, parent: &mut Link<Told, Order>) -> Result<(), imsg::Error> {
    for file in &secrets.files {
        let private = file.name.starts_with("private/");
        if !private || !files::wants_passphrase(file.octets.octets()) {
            continue;
        }
        match rpassword::prompt_password(format!("Passphrase for {}: ", file.name)) {
            Ok(words) => {
                let words = Secret::new(words.into_bytes());
                secrets.passphrases.insert(file.name.clone(), words);
            }
            Err(error) => {
                let text = format!(
                    "{}: it is encrypted, and nobody can be asked for its passphrase: {error}",
                    file.name
                );
                tell(parent, &Told::Remark(text))?;
            }
        }
    }
    Ok(())
}

/// Each policy gets a mark of its pre-shared key: only who has the salt can try keys on it.
fn mark_keys(checked: &mut Checked, salt: &[u8; 32]) -> Result<(), openssl::error::ErrorStack> {
    let key = PKey::hmac(salt)?;
    let mut marks = BTreeMap::new();
    for secret in &checked.secrets {
        let mut mark = [0; 32];
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.sign_oneshot(&mut mark, secret.psk.octets())?;
        let [first, ..] = mark.as_chunks::<8>().0 else { continue };
        marks.insert(&secret.policy, u64::from_be_bytes(*first));
    }
    for policy in &mut checked.config.policies {
        policy.key_mark = marks.get(&policy.name).copied().unwrap_or_default();
    }
    Ok(())
}

/// Something that is the same for the same secrets under the same salt.
fn print(secrets: &Secrets, salt: &[u8; 32]) -> Result<[u8; 32], openssl::error::ErrorStack> {
    let key = PKey::hmac(salt)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    let mut part = |octets: &[u8]| -> Result<(), openssl::error::ErrorStack> {
        signer.update(&(octets.len() as u64).to_be_bytes())?;
        signer.update(octets)
    };
    for secret in &secrets.psks {
        part(secret.policy.0.as_bytes())?;
        part(secret.psk.octets())?;
    }
    part(b"users")?;
    for user in &secrets.users {
        part(user.name.as_bytes())?;
        part(user.password.octets())?;
    }
    part(b"files")?;
    for file in &secrets.files {
        part(file.name.as_bytes())?;
        part(file.octets.octets())?;
    }
    let mut print = [0; 32];
    signer.sign(&mut print)?;
    Ok(print)
}

/// Hands the secrets to a `ca`.
fn hand(mut ca: Link<Handed, ()>, secrets: &Secrets) -> Result<(), imsg::Error> {
    let ca = &mut ca;
    tell(ca, &Handed::Options(secrets.options.clone()))?;
    for psk in &secrets.psks {
        tell(ca, &Handed::Psk(psk.clone()))?;
    }
    for user in &secrets.users {
        tell(ca, &Handed::User(user.clone()))?;
    }
    for (file, words) in &secrets.passphrases {
        tell(ca, &Handed::Passphrase { file: file.clone(), words: words.clone() })?;
    }
    for file in &secrets.files {
        let mut rest = file.octets.octets();
        loop {
            let (piece, after) = rest.split_at(rest.len().min(PIECE));
            let octets = Secret::from(piece);
            tell(ca, &Handed::File(KeyFile { name: file.name.clone(), octets }))?;
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }
    tell(ca, &Handed::End)
}

/// Sends a message and waits until it is gone.
fn tell<S: Serialize, R: DeserializeOwned>(
    link: &mut Link<S, R>,
    message: &S,
) -> Result<(), imsg::Error> {
    link.send(message)?;
    while link.queued() > 0 {
        wait(link, PollFlags::POLLOUT, PATIENCE)?;
        link.flush()?;
    }
    Ok(())
}

/// The next message, which is waited for.
pub fn next<S: Serialize, R: DeserializeOwned>(
    link: &mut Link<S, R>,
) -> Result<(R, Option<OwnedFd>), imsg::Error> {
    loop {
        if let Some(message) = link.recv()? {
            return Ok(message);
        }
        wait(link, PollFlags::POLLIN, Duration::MAX)?;
    }
}

fn wait<S, R>(link: &Link<S, R>, flags: PollFlags, patience: Duration) -> Result<(), imsg::Error> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::NONE);
    let mut fds = [PollFd::new(link.as_fd(), flags)];
    match nix::poll::poll(&mut fds, timeout) {
        Ok(0) => Err(imsg::Error::QueueFull),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(imsg::Error::Io(error.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conf::{MemoryFiles, NumericNames};

    #[test]
    fn another_key_has_another_mark() {
        let marks = |keys: [&str; 2], salt: u8| {
            let text = format!(
                "ikev2 from 10.1.0.0/16 to 10.2.0.0/16 peer 192.0.2.1 psk {}\n\
                 ike from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.1 psk {}\n\
                 ikev2 from 10.1.0.0/16 to 10.4.0.0/16 peer 192.0.2.3\n",
                keys[0], keys[1]
            );
            let files = MemoryFiles::default().with("c", text.as_str());
            let mut checked = crate::conf::load("c", &[], &files, &NumericNames).unwrap();
            mark_keys(&mut checked, &[salt; 32]).unwrap();
            checked.config.policies.iter().map(|policy| policy.key_mark).collect::<Vec<_>>()
        };
        let [one, other, none] = marks(["x", "y"], 1)[..] else { panic!("three policies") };
        assert!(one != other && one != 0 && other != 0 && none == 0);
        assert_eq!(marks(["x", "z"], 1)[0], one);
        assert_ne!(marks(["x", "z"], 1)[1], other);
        assert_ne!(marks(["x", "y"], 2)[0], one);
    }
}
