//! Where memory comes from: mimalloc (the system's allocator gives memory back inside merges, and a load frees what it allocates on other threads); in
//! copies of the process an arena of their own.
//!
//! A copy has the one thread that made it, and everything as it was, the allocator's locks among it: one that another thread held at that moment is held
//! for ever. So a copy allocates from a stretch of memory that it maps itself, and frees nothing that came from before.

use libmimalloc_sys::{mi_collect, mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned};
use nix::libc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// The allocator of the program.
pub struct Memory;

static IS_A_COPY: AtomicBool = AtomicBool::new(false);
static ARENA: CopysArena = CopysArena(UnsafeCell::new(Arena::EMPTY));

/// Used by the only thread of a copy.
struct CopysArena(UnsafeCell<Arena>);

// SAFETY: nobody touches it before the process is a copy, and then it has one thread.
unsafe impl Sync for CopysArena {}

/// From here on this process is a copy, with one thread.
pub(crate) fn in_a_copy() {
    IS_A_COPY.store(true, Ordering::Relaxed);
}

/// Gives back to the system what this thread's lists of free memory hold.
pub(crate) fn give_back() {
    if !is_a_copy() {
        // SAFETY: nothing in use is touched.
        unsafe { mi_collect(true) };
    }
}

fn is_a_copy() -> bool {
    IS_A_COPY.load(Ordering::Relaxed)
}

fn arena() -> *mut Arena {
    ARENA.0.get()
}

// SAFETY: either allocator keeps the contract; a copy hands to its arena only what the arena gave, and leaves alone what came from before.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match (is_a_copy(), is_plain(layout)) {
            (true, _) => unsafe { (*arena()).alloc(layout) },
            (false, true) => unsafe { mi_malloc(layout.size()).cast() },
            (false, false) => unsafe { mi_malloc_aligned(layout.size(), layout.align()).cast() },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_a_copy() { unsafe { (*arena()).dealloc(pointer, layout) } } else { unsafe { mi_free(pointer.cast()) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match (is_a_copy(), is_plain(layout)) {
            (true, _) => {}
            (false, true) => return unsafe { mi_zalloc(layout.size()).cast() },
            (false, false) => return unsafe { mi_zalloc_aligned(layout.size(), layout.align()).cast() },
        }
        let pointer = unsafe { self.alloc(layout) };
        if !pointer.is_null() {
            unsafe { pointer.write_bytes(0, layout.size()) };
        }
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match (is_a_copy(), is_plain(layout) && layout.align() <= size) {
            (true, _) => {}
            (false, true) => return unsafe { mi_realloc(pointer.cast(), size).cast() },
            (false, false) => return unsafe { mi_realloc_aligned(pointer.cast(), size, layout.align()).cast() },
        }
        if size <= block(layout) && unsafe { (*arena()).holds(pointer) } {
            return pointer;
        }
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            unsafe {
                moved.copy_from_nonoverlapping(pointer, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
        }
        moved
    }
}

/// What mimalloc aligns anyway: to its size up to 16 bytes. Asked for an alignment it takes a longer way (7 % of a load's instructions).
fn is_plain(layout: Layout) -> bool {
    layout.align() <= ALIGNED && layout.align() <= layout.size()
}

const ALIGNED: usize = 16;

/// So much of the address space is asked for; only what is touched takes memory. Where that is too much, half of it, and so on.
const STRETCH: usize = 64 << 30;
const STRETCH_LEAST: usize = 64 << 20;
/// Blocks are powers of two, from this on.
const LEAST: usize = 16;
const PAGE: usize = 4096;
/// Freed blocks as large give their memory back.
const LARGE: usize = 1 << 20;

/// The block that a layout takes.
fn block(layout: Layout) -> usize {
    layout.size().max(layout.align()).max(LEAST).next_power_of_two()
}

/// A stretch of memory, cut into blocks from its beginning; freed blocks wait in lists by their size.
struct Arena {
    begin: usize,
    at: usize,
    end: usize,
    free: [*mut u8; usize::BITS as usize],
}

impl Arena {
    const EMPTY: Arena = Arena { begin: 0, at: 0, end: 0, free: [null_mut(); usize::BITS as usize] };

    fn holds(&self, pointer: *mut u8) -> bool {
        (self.begin..self.end).contains(&(pointer as usize))
    }

    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        let size = block(layout);
        let list = &mut self.free[size.trailing_zeros() as usize];
        if !list.is_null() && layout.align() <= PAGE {
            let first = *list;
            // SAFETY: a block in a list begins with the next one, and is of no other use.
            *list = unsafe { first.cast::<*mut u8>().read() };
            return first;
        }
        if self.begin == 0 && !self.map() {
            return null_mut();
        }
        let begin = self.at.next_multiple_of(size.min(PAGE).max(layout.align()));
        if self.end - self.at < begin - self.at + size {
            return null_mut();
        }
        self.at = begin + size;
        begin as *mut u8
    }

    fn dealloc(&mut self, pointer: *mut u8, layout: Layout) {
        if !self.holds(pointer) {
            return;
        }
        let size = block(layout);
        if size >= LARGE {
            // SAFETY: pages of a block that nobody uses; the first one is written below.
            unsafe { libc::madvise(pointer.cast(), size, libc::MADV_DONTNEED) };
        }
        let list = &mut self.free[size.trailing_zeros() as usize];
        // SAFETY: the block is large enough for a pointer, and of no other use from here on.
        unsafe { pointer.cast::<*mut u8>().write(*list) };
        *list = pointer;
    }

    /// Asks the system for the stretch; whether it was given.
    fn map(&mut self) -> bool {
        let mut length = STRETCH;
        while length >= STRETCH_LEAST {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: new pages, which are nobody else's.
            let begin = unsafe { libc::mmap(null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
            if begin != libc::MAP_FAILED {
                (self.begin, self.at, self.end) = (begin as usize, begin as usize, begin as usize + length);
                return true;
            }
            length /= 2;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_pcg::Pcg64Mcg;
    use rand_pcg::rand_core::{Rng, SeedableRng};

    /// Blocks in use are where they should be and nobody else's, whatever is freed between; what is not the arena's is left alone.
    #[test]
    fn blocks_do_not_overlap_and_come_back() {
        let (mut arena, mut chance) = (Arena::EMPTY, Pcg64Mcg::seed_from_u64(1));
        let mut used: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut roll = |below: u64| (chance.next_u64() % below) as usize;
        for round in 0..20_000 {
            if roll(3) > 0 || used.is_empty() {
                let size = if roll(100) == 0 { 1 + roll(3 << 20) } else { 1 + roll(600) };
                let layout = Layout::from_size_align(size, 1 << roll(14)).unwrap();
                let (pointer, mark) = (arena.alloc(layout), round as u8);
                assert!(!pointer.is_null() && (pointer as usize).is_multiple_of(layout.align()), "{layout:?}");
                unsafe { pointer.write_bytes(mark, layout.size()) };
                used.push((pointer, layout, mark));
            } else {
                let (pointer, layout, mark) = used.swap_remove(roll(used.len() as u64));
                let bytes = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
                assert!(bytes.iter().all(|byte| *byte == mark), "somebody wrote here");
                arena.dealloc(pointer, layout);
            }
        }
        // What was freed is given again before more is cut off.
        let (at, layout) = (arena.at, Layout::from_size_align(100, 8).unwrap());
        let pointer = arena.alloc(layout);
        arena.dealloc(pointer, layout);
        assert_eq!((arena.alloc(layout), arena.at.max(at)), (pointer, arena.at));
        let mut elsewhere = [0_u8; 64];
        arena.dealloc(elsewhere.as_mut_ptr(), layout);
        assert_eq!(elsewhere, [0; 64]);
    }
}
