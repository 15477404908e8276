//! The program as people use it: its binary, real processes, namespaces and sockets.
//!
//! Each test runs in data directories of its own, as root and as an ordinary user where both are to be
//! had. Start reading at [`rig`], then `readiness`.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod down;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod init;
#[cfg(test)]
mod last_words;
#[cfg(test)]
mod liveness;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod milliseconds;
#[cfg(test)]
mod names;
#[cfg(test)]
mod orphans;
#[cfg(test)]
mod output;
#[cfg(test)]
mod pids;
#[cfg(test)]
mod readiness;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod services;
#[cfg(test)]
mod sidecars;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod status;
#[cfg(test)]
mod take_up;
#[cfg(test)]
mod wrong_input;
