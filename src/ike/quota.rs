//! How much of something there may be in a time, in all and of one network: what strangers cause is to
//! cost little, and one of them is not to use up what is for all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::event::Time;
use super::table::Network;

/// So much there may be, and so much there was since the time began that is counted now.
#[derive(Debug)]
pub struct Quota {
    span: Duration,
    most: u32,
    most_near: u32,
    since: Time,
    all: u32,
    /// No more entries than what was admitted.
    networks: HashMap<Network, u32>,
}

impl Quota {
    /// In this time so many in all, and so many of one network.
    pub fn new(span: Duration, most: u32, most_near: u32) -> Self {
        let (since, networks) = (Time::default(), HashMap::new());
        Self { span, most, most_near, since, all: 0, networks }
    }

    /// Whether there may be one more of this address; it is counted.
    pub fn admits(&mut self, now: Time, address: IpAddr) -> bool {
        if self.all == 0 || now >= self.until() {
            *self = Self { since: now, ..Self::new(self.span, self.most, self.most_near) };
        }
        let network = Network::of(address);
        let near = self.networks.get(&network).copied().unwrap_or(0);
        if self.all >= self.most || near >= self.most_near {
            return false;
        }
        self.all = self.all.saturating_add(1);
        self.networks.insert(network, near + 1);
        true
    }

    /// When all is counted anew.
    pub fn until(&self) -> Time {
        self.since.after(self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_in_all_and_one_for_each_network() {
        let mut quota = Quota::new(Duration::from_secs(1), 64, 8);
        let at = |millis| Time::at(Duration::from_millis(millis));
        let address = |third: u8, last: u8| IpAddr::from([10, 0, third, last]);
        let near = (0..255).filter(|last| quota.admits(at(5), address(0, *last))).count();
        assert_eq!(near, 8);
        let all = (1..255).filter(|third| quota.admits(at(999), address(*third, 1))).count();
        assert_eq!(all, 56);
        assert!(quota.networks.len() <= 64);
        assert!(quota.admits(at(1005), address(0, 1)));
    }
}
