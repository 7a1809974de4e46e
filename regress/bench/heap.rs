//! A global allocator that counts when asked to. What the cryptographic library allocates for itself is not
//! seen; so counting all the time would slow down our code alone, beside what it is measured against.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Counts from now on.
pub fn count() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Octets that were allocated, and not yet freed, since there is a count.
pub fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

/// The system's allocator, which may keep a count of live octets.
pub struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; at most a number is kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add_signed(-signed(layout.size()));
        // SAFETY: the pointer came from `System` with this layout, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add_signed(signed(size) - signed(layout.size()));
        // SAFETY: the pointer came from `System` with this layout, as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn add(size: usize) {
    add_signed(signed(size));
}

fn add_signed(size: isize) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(size, Ordering::Relaxed);
    }
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}
