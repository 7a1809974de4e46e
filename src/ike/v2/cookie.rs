//! Cookies: proof that an initiator receives what is sent to its address, without any state
//! (RFC 7296 §2.6).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::crypto::{Prf, Random, Secret};
use crate::ike::event::Time;
use crate::wire::IkeSpi;
use crate::wire::iana::v2::PrfId;

/// How long a secret is used; its successor still honours its cookies as long again.
const LIFETIME: Duration = Duration::from_secs(60);

/// The secrets that cookies are made of.
#[derive(Debug, Default)]
pub struct Cookies {
    current: Option<(Secret, Time)>,
    previous: Option<Secret>,
}

impl Cookies {
    /// The cookie that this initiator has to return.
    pub fn bake(
        &mut self,
        now: Time,
        random: &mut dyn Random,
        spi: IkeSpi,
        remote: SocketAddr,
        nonce: &[u8],
    ) -> Vec<u8> {
        self.renew(now, random);
        let secret = self.current.as_ref().map(|(secret, _)| secret);
        secret.map(|secret| cookie(secret, spi, remote, nonce)).unwrap_or_default()
    }

    /// Whether this is the cookie that we gave that initiator, not too long ago.
    pub fn is_ours(
        &mut self,
        now: Time,
        random: &mut dyn Random,
        spi: IkeSpi,
        remote: SocketAddr,
        nonce: &[u8],
        returned: &[u8],
    ) -> bool {
        self.renew(now, random);
        let secrets = self.current.iter().map(|(secret, _)| secret).chain(&self.previous);
        let returned = Secret::from(returned);
        secrets
            .into_iter()
            .any(|secret| Secret::new(cookie(secret, spi, remote, nonce)) == returned)
    }

    fn renew(&mut self, now: Time, random: &mut dyn Random) {
        let fresh = |(_, since): &(Secret, Time)| now.since(*since) < LIFETIME;
        if self.current.as_ref().is_some_and(fresh) {
            return;
        }
        let mut octets = vec![0; 32];
        random.fill(&mut octets);
        let old = self.current.replace((Secret::new(octets), now));
        let usable = old.filter(|(_, since)| now.since(*since) < 2 * LIFETIME);
        self.previous = usable.map(|(secret, _)| secret);
    }
}

fn cookie(secret: &Secret, spi: IkeSpi, remote: SocketAddr, nonce: &[u8]) -> Vec<u8> {
    let address = match remote.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let parts = [nonce, &address, &remote.port().to_be_bytes(), &spi.0];
    let prf = Prf::new(PrfId::PRF_HMAC_SHA2_256);
    prf.map(|prf| prf.prf(secret.octets(), &parts).octets().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn a_cookie_is_for_one_initiator_and_ages() {
        let mut random = SeededRandom::new(1);
        let mut cookies = Cookies::default();
        let at = |s| Time::at(Duration::from_secs(s));
        let (spi, remote) = (IkeSpi([7; 8]), "192.0.2.1:500".parse().unwrap());
        let baked = cookies.bake(at(0), &mut random, spi, remote, b"nonce");
        assert_eq!(baked.len(), 32);
        let mut good = |now, remote: &str| {
            let remote = remote.parse().unwrap();
            cookies.is_ours(at(now), &mut random, spi, remote, b"nonce", &baked)
        };
        assert!(good(1, "192.0.2.1:500"));
        assert!(!good(1, "192.0.2.2:500"));
        assert!(good(70, "192.0.2.1:500"));
        assert!(!good(200, "192.0.2.1:500"));
    }
}
