//! A scheduler in this process, executors in processes of their own, and clients of them.

mod cluster;
mod command;
mod data;
mod ends;
mod options;
mod queries;
