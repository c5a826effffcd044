//! The one integration binary.

/// Files in several shapes become the same ordered chunks; mappings, full dumps and quarantine.
mod sources;

/// A temporary folder of one test.
mod folder;

/// The program as a process that ends, and what it says.
mod program;

/// The `kz` package with changes.
mod packages;

/// The pipeline as a process: fed, killed at any moment, started again.
mod running;

/// Registers written by hand, for tests that need no package.
mod registers;

/// Every way in which a line can be wrong, and what an accepted one becomes.
mod intake;

/// What is packed is read again; one key is one identity, however it is packed.
mod packing;

/// What is written to whom: limits, timers, repeats and replays, over random lives.
mod dispatch;

/// The command `forecast`: what the calendar will change is reasoned, and is what `batch` says once it has.
mod forecast;

/// The command `policy propose-parameter`, with medians known by reasoning.
mod propose;

/// Families keep their ids when their keys change, however a date's records are cut into epochs.
mod lineage;

/// The engine and the twin told the same lines, and what both say.
mod agreement;

/// The engine held against the twin over random lives: any order, any batching, one worker and three.
mod twin;

/// Families of which every day of a year is held against the twin.
mod year;

/// The demonstration, from a birth to an assigned benefit.
mod demo;

/// The stories of the packages that come with the program hold, and a story that is wrong is told so.
mod stories;

/// What helps with writing packages: counts and costs, skeletons, one item shown, schemas, traces and mutants.
mod policy;

/// The analyst's walk is played word by word: a register, an indicator and a benefit in files, checked, told and run.
mod walk;

/// The command `batch` from outside: order, workers, compression, bad input, real input and full dumps.
mod batch;

/// The synthetic country has the shares that are published of the real one, found by the engine in its records.
mod calibration;

/// What the journal was asked to keep it keeps, whatever the disk does.
mod journal;

/// The long-lived pipeline as those see it who run it: what it tells, refuses, checks, and lets be held up.
mod pipeline;

/// What a disk, a folder or a clock may do to it: it is told with a reason, harms nothing, and once it is mended all goes on.
mod trouble;

/// The process is killed, at random moments and before each step that matters.
mod kills;

/// A story told while a message centre does everything wrong that can be.
mod faulty;

/// Texts by message centres: nothing is shown twice, whatever goes wrong.
mod centre;

/// Who is written to, and when: quiet hours, trials, the brake, waves, those who want no texts.
mod sending;

/// What was agreed to is paid, stopped and asked back.
mod payments;

/// Texts by a gateway over HTTP that others made.
mod kannel;

/// The stream of changes: read in pieces, it is each of them once, and adds up to what holds.
mod changes;

/// What comes in by the doors: lines, tables, full dumps, files, and who may.
mod doors;

/// A start from a snapshot goes on as if nothing had ended; one of no use is passed over.
mod snapshots;

/// What older programs wrote is understood, or refused with a reason.
mod formats;

/// What operators are given: rules of alerts, each with what to do.
mod operations;

/// Another policy comes into force while a pipeline runs.
mod activation;

/// Families picked at random are computed once more, by the twin.
mod audit;
