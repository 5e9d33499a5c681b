//! The card as a host sees it: registers, queues and memory, by the numbers of docs/CARD.md.

mod admin;
mod encode;
mod faults;
mod functions;
mod host;
mod jobs;
mod limit;
mod load;
mod operations;
mod program;
mod refusals;
mod registers;
mod runs;
mod serve;
mod vectors;
