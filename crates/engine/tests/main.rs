//! The engine in virtual time, one test a row of upstream's behaviour and more.
//!
//! A test whose name begins with a letter and a number shows that row of the scenario vectors; the files
//! are named after what their rows are about. Start reading at [`rig`].

#[cfg(test)]
mod conditions;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod images;
#[cfg(test)]
mod init;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod kubelet;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod post_start;
#[cfg(test)]
mod random;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod sidecars;
#[cfg(test)]
mod status;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod timing;
