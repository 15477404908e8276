//! Rows B: when probes look.

use probelet_model::probe::ProbeKind::Liveness;

use crate::rig::Rig;
use crate::rig::plan::{container, every, pod};

#[test]
fn b1_liveness_period_10_threshold_3_always_fails() {
    let mut rig = Rig::of(pod("p").with(container("c").liveness(every(10.0), "f")));
    rig.run_until(35.0);
    assert_eq!(rig.attempts("c", Liveness), [10.0, 20.0, 30.0]);
    assert_eq!(rig.stops("c"), [(30.0, 30.0)]);
}
