//! Archives for other machines, laid out as their daemons want it.
//!
//! ```text
//! NAME.tgz   ca/  crls/  certs/HOST.crt  private/local.key  local.pub  export/
//! NAME.zip   what is in export/: ca.pfx  HOST.pfx  peer.txt; for machines without tar(1)
//! ```

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509;

use super::{Issuer, library, make_folder, not_ca, plain, said, write_new};
use crate::crypto::Secret;

impl Issuer {
    /// Packs what another machine needs into archives in a directory: the authority's certificate and
    /// list, and a host's key and certificate, with a password also as PKCS #12. The authority's own key
    /// stays here.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn export(
        &self,
        to: &Path,
        host: Option<&str>,
        peer: Option<&str>,
        password: Option<&Secret>,
    ) -> Result<String, String> {
        let name = match host {
            Some(host) => not_ca(plain(host)?)?,
            None => "ca",
        };
        // A colon is for other machines to tar(1), and no part of a name to some systems.
        let name = name.replace(':', "_");
        let [tar, zip] = ["tgz", "zip"].map(|kind| to.join(format!("{name}.{kind}")));
        for archive in [&tar, &zip] {
            if archive.exists() {
                return Err(format!("{}: exists already", archive.display()));
            }
        }
        let place = self.path.join(format!(".export-{}", std::process::id()));
        make_folder(&place, 0o700)?;
        let packed = self.gather(&place, (host, &name), peer, password).and_then(|()| {
            pack(&place, &tar)?;
            zipped(&place.join("export"), &zip)
        });
        fs::remove_dir_all(&place).map_err(said(&place))?;
        let also = if packed? { format!(" and {}", zip.display()) } else { String::new() };
        Ok(format!("exported to {}{also}", tar.display()))
    }

    fn gather(
        &self,
        place: &Path,
        (host, name): (Option<&str>, &str),
        peer: Option<&str>,
        password: Option<&Secret>,
    ) -> Result<(), String> {
        self.install(place)?;
        let export = place.join("export");
        make_folder(&export, 0o700)?;
        if let Some(peer) = peer {
            write_new(&export.join("peer.txt"), format!("{peer}\n").as_bytes(), false)?;
        }
        if let Some(host) = host {
            self.install_host(host, place, true)?;
        }
        let Some(password) = password else { return Ok(()) };
        let words = std::str::from_utf8(password.octets());
        let words = words.map_err(|_| "the password is no text")?;
        let ca = self.cert()?;
        if let Some(host) = host {
            let own = (self.host_key(host)?, self.host_cert(host)?);
            bag(&export.join(format!("{name}.pfx")), host, Some(own), ca.clone(), words)?;
        }
        bag(&export.join("ca.pfx"), &self.name, None, ca, words)
    }
}

/// Writes a PKCS #12 file.
fn bag(
    to: &Path,
    name: &str,
    own: Option<(PKey<Private>, X509)>,
    ca: X509,
    words: &str,
) -> Result<(), String> {
    let mut above = Stack::new().map_err(library)?;
    above.push(ca).map_err(library)?;
    let mut bag = Pkcs12::builder();
    bag.name(name).ca(above);
    if let Some((key, cert)) = &own {
        bag.pkey(key).cert(cert);
    }
    let bag = bag.build2(words).and_then(|bag| bag.to_der()).map_err(library)?;
    write_new(to, &bag, true)
}

fn pack(place: &Path, archive: &Path) -> Result<(), String> {
    // It holds a key: nobody else may read it while it grows.
    write_new(archive, b"", true)?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(place).arg("-czpf").arg(archive).arg(".");
    match tar.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("tar: {status}")),
        Err(error) => Err(format!("tar: {error}")),
    }
}

/// Zips a folder where zip(1) is installed and there is something in it; whether it did.
fn zipped(folder: &Path, archive: &Path) -> Result<bool, String> {
    let mut entries = fs::read_dir(folder).map_err(said(folder))?;
    if entries.next().is_none() {
        return Ok(false);
    }
    let archive: PathBuf = std::path::absolute(archive).map_err(said(archive))?;
    let mut zip = Command::new("zip");
    match zip.current_dir(folder).arg("-qr").arg(&archive).arg(".").status() {
        Ok(status) if status.success() => {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&archive, mode).map_err(said(&archive))?;
            Ok(true)
        }
        Ok(status) => Err(format!("zip: {status}")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("zip: {error}")),
    }
}
