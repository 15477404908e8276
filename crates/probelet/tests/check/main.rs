//! `probelet check`: the command as it is run, and its numbers against the engine that they are about.

#![cfg(test)]

mod command;
mod numbers;
mod sarif;
