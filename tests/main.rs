//! The integration tests, in one binary: what holds for the tree as a whole and for the program as it runs.

mod api_source;
mod browser;
mod crash;
mod learning;
mod lockstep;
mod operations;
mod overload;
mod phases;
mod preferences;
mod program;
mod reward_fixtures;
mod serving;
mod stack_exchange;
mod tidy;
mod watching;
