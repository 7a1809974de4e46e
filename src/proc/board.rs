//! Which questions wait for a `ca` worker, and which worker has which.
//!
//! The questions of one IKE SA are answered in the order in which they were asked: while a worker has
//! one of them, the next goes to the same worker, who takes one after the other. Others go to whoever
//! has least to do. A worker has few at a time: so what an IKE SA asked that is gone by then is not
//! worked on, and little has to be asked again when a worker dies.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::ike::auth::{Question, QuestionId};
use crate::ike::table::SaId;

/// The most questions that have no answer yet.
pub const MOST: usize = 1024;
/// The most octets that they have, certificates of peers being the larger part.
pub const MOST_OCTETS: usize = 4 * 1024 * 1024;
/// How many a worker has at a time: while it answers one the next is there already.
pub const IN_HAND: usize = 4;
/// With how many workers that died a question may have been: it may be what they die of.
const MOST_DEATHS: u8 = 3;

/// A question without answer.
#[derive(Debug, Clone)]
struct Entry {
    id: QuestionId,
    sa: SaId,
    question: Question,
    octets: usize,
    deaths: u8,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Board {
    waiting: VecDeque<Entry>,
    workers: BTreeMap<u8, VecDeque<Entry>>,
}

impl Board {
    /// Whether a question of so many octets is too much.
    pub fn is_full(&self, octets: usize) -> bool {
        let all = || self.waiting.iter().chain(self.workers.values().flatten());
        all().count() >= MOST
            || all().map(|entry| entry.octets).sum::<usize>() + octets > MOST_OCTETS
    }

    /// Another question of so many octets; it waits until [`Board::next`] gives it out.
    pub fn add(&mut self, id: QuestionId, sa: SaId, question: Question, octets: usize) {
        self.waiting.push_back(Entry { id, sa, question, octets, deaths: 0 });
    }

    /// Forgets those that wait for a worker while nobody waits for their answer.
    pub fn retain(&mut self, mut wanted: impl FnMut(QuestionId) -> bool) {
        self.waiting.retain(|entry| wanted(entry.id));
    }

    /// A worker is there, with nothing to do yet.
    pub fn come(&mut self, worker: u8) {
        self.workers.insert(worker, VecDeque::new());
    }

    /// A worker is gone: what it had is asked again, before all others and in its order. Gives those
    /// that were with too many workers that died.
    pub fn gone(&mut self, worker: u8) -> Vec<QuestionId> {
        let mut had = self.workers.remove(&worker).unwrap_or_default();
        // It takes one after the other: this is what it was at.
        if let Some(first) = had.front_mut() {
            first.deaths += 1;
        }
        let hopeless = |entry: &Entry| entry.deaths >= MOST_DEATHS;
        let given_up = had.iter().filter(|entry| hopeless(entry)).map(|entry| entry.id).collect();
        had.retain(|entry| !hopeless(entry));
        for entry in had.into_iter().rev() {
            self.waiting.push_front(entry);
        }
        given_up
    }

    /// The next question that can be given to a worker, and to which; it has it from now on. Those
    /// that nobody waits for any more are forgotten on the way.
    pub fn next(
        &mut self,
        mut wanted: impl FnMut(QuestionId) -> bool,
    ) -> Option<(u8, QuestionId, &Question)> {
        let mut held = HashSet::new();
        let mut place = 0;
        loop {
            let free = self.workers.iter().filter(|(_, has)| has.len() < IN_HAND);
            let (least, _) = free.min_by_key(|(_, has)| has.len())?;
            let entry = self.waiting.get(place)?;
            let of_its_sa = |has: &VecDeque<Entry>| has.iter().any(|it| it.sa == entry.sa);
            let worker = match self.workers.iter().find(|(_, has)| of_its_sa(has)) {
                None => Some(*least),
                Some((worker, has)) => (has.len() < IN_HAND).then_some(*worker),
            };
            match worker {
                _ if !wanted(entry.id) => drop(self.waiting.remove(place)),
                Some(worker) if !held.contains(&entry.sa) => {
                    let entry = self.waiting.remove(place)?;
                    let has = self.workers.get_mut(&worker)?;
                    has.push_back(entry);
                    return has.back().map(|entry| (worker, entry.id, &entry.question));
                }
                _ => {
                    held.insert(entry.sa);
                    place += 1;
                }
            }
        }
    }

    /// A worker answers, or cannot be given this. Whether it had the question.
    pub fn answered(&mut self, worker: u8, id: QuestionId) -> bool {
        let Some(has) = self.workers.get_mut(&worker) else { return false };
        let place = has.iter().position(|entry| entry.id == id);
        place.and_then(|place| has.remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::IkeSpi;

    fn question(id: u64) -> (QuestionId, Question) {
        (QuestionId(id), Question::Password { user: id.to_string() })
    }

    fn sa_of(number: u64) -> SaId {
        SaId(IkeSpi(number.to_be_bytes()))
    }

    /// A board with these workers, and with questions of these SAs, numbered from 0.
    fn board(workers: u8, sas: &[u64]) -> Board {
        let mut board = Board::default();
        (0..workers).for_each(|worker| board.come(worker));
        for (number, sa) in sas.iter().enumerate() {
            let (id, question) = question(number as u64);
            board.add(id, sa_of(*sa), question, 1);
        }
        board
    }

    /// Who gets what now: worker and number of the question.
    fn given(board: &mut Board) -> Vec<(u8, u64)> {
        std::iter::from_fn(|| board.next(|_| true).map(|(worker, id, _)| (worker, id.0))).collect()
    }

    #[test]
    fn questions_are_spread_and_those_of_one_sa_stay_together() {
        let mut two = board(2, &[1, 1, 2, 3]);
        assert_eq!(given(&mut two), [(0, 0), (0, 1), (1, 2), (1, 3)]);
        assert!(two.answered(0, QuestionId(0)));
        assert!(!two.answered(0, QuestionId(0)), "it was answered");
        assert!(!two.answered(0, QuestionId(2)), "another worker has it");
        // Once nothing of the SA is with a worker, any may have the next.
        assert!(two.answered(0, QuestionId(1)));
        assert!(two.answered(1, QuestionId(2)));
        two.add(QuestionId(4), sa_of(1), question(4).1, 1);
        assert_eq!(given(&mut two), [(0, 4)]);
    }

    #[test]
    fn a_worker_has_few_at_a_time_and_the_order_of_an_sa_is_kept() {
        let mut two = board(2, &[1, 1, 1, 1, 1, 1, 2, 3]);
        // The other worker is free for others, not for what must come after.
        assert_eq!(given(&mut two), [(0, 0), (0, 1), (0, 2), (0, 3), (1, 6), (1, 7)]);
        assert!(two.answered(0, QuestionId(0)));
        assert_eq!(given(&mut two), [(0, 4)]);
        assert!(two.answered(0, QuestionId(1)));
        assert_eq!(given(&mut two), [(0, 5)]);
    }

    #[test]
    fn what_nobody_waits_for_is_not_given_out() {
        let mut one = board(1, &[1, 2, 1, 3]);
        let wanted = |id: QuestionId| id.0 == 1 || id.0 == 3;
        let mut all = Vec::new();
        while let Some((_, id, _)) = one.next(wanted) {
            all.push(id.0);
        }
        assert_eq!(all, [1, 3]);
        let mut many = board(0, &[0; MOST]);
        assert!(many.is_full(1));
        assert!(many.next(wanted).is_none(), "there is no worker");
        many.retain(wanted);
        assert!(!many.is_full(1));
        assert!(many.is_full(MOST_OCTETS));
        many.come(0);
        assert_eq!(given(&mut many), [(0, 1), (0, 3)]);
    }

    #[test]
    fn what_a_dead_worker_had_is_asked_again_first() {
        let mut two = board(2, &[1, 2, 1, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(given(&mut two).len(), 2 * IN_HAND);
        assert!(two.gone(0).is_empty());
        assert!(given(&mut two).is_empty(), "the other has all it can have");
        two.come(0);
        let again: Vec<u64> = given(&mut two).into_iter().map(|(_, id)| id).collect();
        assert_eq!(again, [0, 2, 4, 6]);
    }

    #[test]
    fn what_workers_die_of_is_given_up() {
        let mut one = board(1, &[1, 2]);
        for _ in 1..MOST_DEATHS {
            assert_eq!(given(&mut one), [(0, 0), (0, 1)]);
            assert!(one.gone(0).is_empty());
            one.come(0);
        }
        given(&mut one);
        assert_eq!(one.gone(0), [QuestionId(0)]);
        one.come(0);
        assert_eq!(given(&mut one), [(0, 1)]);
    }
}
