//! `oakctl ca …`: the small authority, in ikectl(8)'s words.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use getopts::Matches;
use oakd::crypto::Secret;
use oakd::issuer::{Issuer, Use};
use oakd::pki::authority::NewKey;

/// Where authorities are kept.
pub const BASE: &str = "/etc/ssl";
/// Where the daemon looks for keys.
const KEYS: &str = "/etc/oakd";

/// What is asked for besides the words.
pub struct Manner {
    base: PathBuf,
    quiet: bool,
    kind: NewKey,
}

impl Manner {
    /// From the options.
    ///
    /// # Errors
    ///
    /// A kind of key that there is not.
    pub fn from(matches: &Matches) -> Result<Self, String> {
        let word = matches.opt_str("key").unwrap_or_else(|| "p256".into());
        let kind = NewKey::WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
        let words: Vec<&str> = NewKey::WORDS.iter().map(|(word, _)| *word).collect();
        Ok(Self {
            base: matches.opt_str("ssl").map_or_else(|| BASE.into(), PathBuf::from),
            quiet: matches.opt_present("q"),
            kind: kind.ok_or_else(|| format!("--key {word}: one of {}", words.join(", ")))?,
        })
    }
}

/// Does what the words behind `ca` say; what is to be printed.
///
/// # Errors
///
/// What is wrong with the words, or what went wrong.
pub fn run(words: &[String], manner: &Manner) -> Result<String, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, rest) = words.split_first().ok_or("ca: which?")?;
    let issuer = Issuer::new(&manner.base, name)?;
    let folder = |path: &[&str]| match path {
        [] => Ok(PathBuf::from(KEYS)),
        // As ikectl(8) has it: `isakmpd` is /etc/isakmpd.
        [path] if path.starts_with(['.', '/']) => Ok(PathBuf::from(path)),
        [path] => Ok(Path::new("/etc").join(path)),
        more => Err(format!("unexpected: {}", more[1..].join(" "))),
    };
    let wrong = || {
        format!(
            "ca {name}: create, delete, export, install, show, certificate HOST \
             create|delete|export|install|revoke, or key HOST create|delete|import|install"
        )
    };
    match rest {
        ["create", rest @ ..] => {
            let (_, password) = extras(rest)?;
            confirm(
                manner,
                &format!("Create the authority {name} in {}?", issuer.path().display()),
            )?;
            let password = match password {
                Some(password) => password,
                None => asked("CA passphrase", true)?,
            };
            issuer.create(&password, manner.kind)
        }
        ["delete"] => {
            let all = format!("Delete the authority {name} with all its keys?");
            confirm(manner, &all)?;
            issuer.delete()
        }
        ["export", rest @ ..] => {
            let (peer, password) = extras(rest)?;
            let password = for_export(manner, password)?;
            issuer.export(Path::new("."), None, peer, password.as_ref())
        }
        ["install", path @ ..] => issuer.install(&folder(path)?),
        ["show"] => issuer.show(None),
        ["show", host] => issuer.show(Some(host)),
        ["certificate", host, "create", role @ ..] => {
            let role = match role {
                [] => Use::Host,
                ["server"] => Use::Server,
                ["client"] => Use::Client,
                ["ocsp"] => Use::Responder,
                other => return Err(format!("server, client or ocsp, not {}", other.join(" "))),
            };
            confirm(manner, &format!("Create a certificate for {host}, signed by {name}?"))?;
            issuer.create_certificate(host, role, manner.kind)
        }
        ["certificate", host, "delete"] => {
            confirm(manner, &format!("Delete certificate and key of {host}?"))?;
            issuer.delete_certificate(host)
        }
        ["certificate", host, "revoke"] => {
            confirm(manner, &format!("Revoke the certificate of {host} for ever?"))?;
            issuer.revoke(host)
        }
        ["certificate", host, "export", rest @ ..] => {
            let (peer, password) = extras(rest)?;
            let password = for_export(manner, password)?;
            issuer.export(Path::new("."), Some(host), peer, password.as_ref())
        }
        ["certificate", host, "install", path @ ..] => {
            issuer.install_host(host, &folder(path)?, true)
        }
        ["key", host, "create"] => issuer.create_key(host, manner.kind),
        ["key", host, "delete"] => {
            confirm(manner, &format!("Delete the key of {host}?"))?;
            issuer.delete_key(host)
        }
        ["key", host, "import", file] => issuer.import_key(host, Path::new(file)),
        ["key", host, "install", path @ ..] => issuer.install_host(host, &folder(path)?, false),
        _ => Err(wrong()),
    }
}

/// `peer NAME` and `password WORDS`, in any order.
fn extras<'a>(mut words: &[&'a str]) -> Result<(Option<&'a str>, Option<Secret>), String> {
    let (mut peer, mut password) = (None, None);
    loop {
        words = match words {
            [] => return Ok((peer, password)),
            ["peer", name, rest @ ..] => {
                peer = Some(*name);
                rest
            }
            ["password", text, rest @ ..] if !text.is_empty() => {
                password = Some(Secret::from(text.as_bytes()));
                rest
            }
            other => return Err(format!("peer NAME or password WORDS, not {}", other.join(" "))),
        };
    }
}

/// The password of PKCS #12 files, which is asked for unless nobody is to be asked.
fn for_export(manner: &Manner, given: Option<Secret>) -> Result<Option<Secret>, String> {
    match given {
        None if !manner.quiet => asked("Export passphrase", true).map(Some),
        given => Ok(given),
    }
}

/// A passphrase from the terminal.
fn asked(what: &str, twice: bool) -> Result<Secret, String> {
    let ask = |prompt: String| {
        let words = rpassword::prompt_password(prompt).map_err(|error| format!("{what}: {error}"));
        words.map(|words| Secret::new(words.into_bytes()))
    };
    let words = ask(format!("{what}: "))?;
    if words.is_empty() {
        return Err(format!("{what}: none was given"));
    }
    if twice && ask(format!("Again, {what}: "))? != words {
        return Err(format!("{what}: they are not the same"));
    }
    Ok(words)
}

/// Asks, unless nobody is to be asked.
fn confirm(manner: &Manner, question: &str) -> Result<(), String> {
    if manner.quiet {
        return Ok(());
    }
    print!("{question} [y/n] ");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| error.to_string())?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err("nothing was done".into()),
    }
}
