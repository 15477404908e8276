//! What a pod's containers ask for and may use, taken together.

use crate::pod::{Container, Pod};
use crate::resources::{Amounts, Qos, Resources};

/// What is asked for of one resource, and the most of it.
type Pair = (Option<u64>, Option<u64>);

impl Pod {
    /// How much it may count on.
    ///
    /// Upstream: pkg/apis/core/v1/helper/qos/qos.go, ComputePodQOS; a request that is not there is the limit, which
    /// there is done before (pkg/apis/core/v1/defaults.go, SetDefaults_Pod).
    /// Shown by: a_pod_is_of_the_class_that_upstream_says.
    #[must_use]
    pub fn qos(&self) -> Qos {
        let parts = |resources: &Resources| {
            let (asked, most) = (requests(resources), resources.limits);
            [
                (asked.cpu_milli, most.cpu_milli),
                (asked.memory, most.memory),
            ]
        };
        let said = |amount: Option<u64>| amount.unwrap_or(0) > 0;
        let all = || {
            self.all_containers()
                .map(|container| parts(&container.resources))
        };
        if !all()
            .flatten()
            .any(|(asked, most)| said(asked) || said(most))
        {
            return Qos::BestEffort;
        }
        let sum = |index: usize| {
            let of = |pick: fn(&Pair) -> Option<u64>| -> u64 {
                all().filter_map(|each| pick(&each[index])).sum()
            };
            (of(|(asked, _)| *asked), of(|(_, most)| *most))
        };
        let limited = all().flatten().all(|(_, most)| said(most));
        let as_asked = [0, 1].iter().all(|&index| {
            let (asked, most) = sum(index);
            asked == most
        });
        if limited && as_asked {
            Qos::Guaranteed
        } else {
            Qos::Burstable
        }
    }

    /// What all of its containers ask for together, and, where each of them has a limit, what they may use
    /// together. Init containers come one after the other, and sidecars stay.
    ///
    /// Upstream: component-helpers resource/helpers.go, PodRequests and PodLimits; kubelet
    /// pkg/kubelet/cm/helpers_linux.go, ResourceConfigForPod (a limit of the pod only where all containers have one).
    /// Shown by: a_pod_asks_for_what_its_containers_need_at_one_time.
    #[must_use]
    pub fn resources(&self) -> Resources {
        let all = |pick: fn(&Amounts) -> Option<u64>| {
            self.all_containers()
                .all(|container| pick(&container.resources.limits).unwrap_or(0) > 0)
        };
        let limit = |pick: fn(&Amounts) -> Option<u64>| {
            let limits = |container: &Container| pick(&container.resources.limits);
            all(pick).then(|| self.at_one_time(limits)).flatten()
        };
        let request = |pick: fn(&Amounts) -> Option<u64>| {
            self.at_one_time(|container| pick(&requests(&container.resources)))
        };
        Resources {
            requests: Amounts {
                cpu_milli: request(|amounts| amounts.cpu_milli),
                memory: request(|amounts| amounts.memory),
                ephemeral_storage: request(|amounts| amounts.ephemeral_storage),
            },
            limits: Amounts {
                cpu_milli: limit(|amounts| amounts.cpu_milli),
                memory: limit(|amounts| amounts.memory),
                ephemeral_storage: limit(|amounts| amounts.ephemeral_storage),
            },
        }
    }

    /// The memory by which it is counted how ready the kernel is to kill a container: what that asks for, and of a
    /// sidecar at least as much as the regular container that asks for the least. So a sidecar is not killed before
    /// those whom it serves.
    ///
    /// Upstream: kubelet pkg/kubelet/qos/policy.go, GetContainerOOMScoreAdjust and minRegularContainerMemory.
    /// Shown by: a_sidecar_counts_as_the_least_of_the_regular_containers.
    #[must_use]
    pub fn memory_that_counts(&self, container: &Container) -> Option<u64> {
        let memory = |container: &Container| requests(&container.resources).memory;
        let own = memory(container);
        let is_sidecar = container.is_restartable_init()
            && self
                .init_containers
                .iter()
                .any(|init| init.name == container.name);
        if !is_sidecar {
            return own;
        }
        let least = self
            .containers
            .iter()
            .map(|regular| memory(regular).unwrap_or(0))
            .min();
        own.max(least.filter(|least| *least > 0))
    }

    fn at_one_time(&self, amount: impl Fn(&Container) -> Option<u64>) -> Option<u64> {
        let said = self
            .all_containers()
            .any(|container| amount(container).is_some());
        let of = |container: &Container| amount(container).unwrap_or(0);
        let (mut sidecars, mut most) = (0, 0);
        for init in &self.init_containers {
            if init.is_restartable_init() {
                sidecars += of(init);
                most = most.max(sidecars);
            } else {
                most = most.max(sidecars + of(init));
            }
        }
        let regular: u64 = self.containers.iter().map(of).sum();
        said.then(|| most.max(sidecars + regular))
    }
}

/// What a container asks for: of what it does not say, its limit.
fn requests(resources: &Resources) -> Amounts {
    let Resources { requests, limits } = resources;
    Amounts {
        cpu_milli: requests.cpu_milli.or(limits.cpu_milli),
        memory: requests.memory.or(limits.memory),
        ephemeral_storage: requests.ephemeral_storage.or(limits.ephemeral_storage),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Said = [Option<u64>; 4];

    fn container(name: &str) -> serde_json::Value {
        json!({"name": name, "command": ["a"]})
    }

    /// A pod of containers with requests and limits of cpu, then of memory; the first `init` ones are init containers,
    /// and of those the first `sidecars` sidecars.
    fn pod(said: &[Said], init: usize, sidecars: usize) -> Pod {
        let mut all: Vec<_> = (0..said.len())
            .map(|index| container(&format!("c{index}")))
            .collect();
        for sidecar in &mut all[..sidecars] {
            sidecar["restartPolicy"] = "Always".into();
        }
        let regular = all.split_off(init);
        let mut pod = Pod::from_value(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "spec": {"runtimeClassName": "host", "initContainers": all, "containers": regular},
        }))
        .unwrap();
        let containers = pod.init_containers.iter_mut().chain(&mut pod.containers);
        for (container, [cpu, cpu_limit, memory, memory_limit]) in containers.zip(said) {
            container.resources.requests.cpu_milli = *cpu;
            container.resources.requests.memory = *memory;
            container.resources.limits.cpu_milli = *cpu_limit;
            container.resources.limits.memory = *memory_limit;
        }
        pod
    }

    const NOTHING: Said = [None; 4];
    const ALL: Said = [Some(100), Some(100), Some(1000), Some(1000)];

    #[test]
    fn a_pod_is_of_the_class_that_upstream_says() {
        // Upstream: pkg/apis/core/v1/helper/qos/qos_test.go, TestComputePodQOS.
        let check = |said: &[Said], init, expected: Qos| {
            assert_eq!(pod(said, init, 0).qos(), expected, "{said:?}");
        };
        check(&[NOTHING], 0, Qos::BestEffort);
        check(&[[Some(0), None, Some(0), None]], 0, Qos::BestEffort);
        check(&[ALL], 0, Qos::Guaranteed);
        check(&[ALL, ALL], 0, Qos::Guaranteed);
        // What is not asked for is the limit.
        check(&[[None, Some(100), None, Some(1000)]], 0, Qos::Guaranteed);
        check(&[ALL, NOTHING], 0, Qos::Burstable);
        check(&[ALL, NOTHING], 1, Qos::Burstable);
        check(&[NOTHING, ALL], 1, Qos::Burstable);
        check(&[[Some(1), None, None, None]], 0, Qos::Burstable);
        check(&[[None, Some(100), None, None]], 0, Qos::Burstable);
        check(
            &[[Some(99), Some(100), Some(1000), Some(1000)]],
            0,
            Qos::Burstable,
        );
    }

    #[test]
    fn a_pod_asks_for_what_its_containers_need_at_one_time() {
        let cpu = |milli| [Some(milli), None, None, None];
        let asked = |said: &[Said], init, sidecars| {
            pod(said, init, sidecars).resources().requests.cpu_milli
        };
        assert_eq!(asked(&[NOTHING], 0, 0), None);
        assert_eq!(asked(&[cpu(1), cpu(2)], 0, 0), Some(3));
        assert_eq!(asked(&[cpu(9), cpu(2)], 1, 0), Some(9));
        assert_eq!(asked(&[cpu(5), cpu(9), cpu(2)], 2, 1), Some(14));
        assert_eq!(asked(&[cpu(5), cpu(1), cpu(2)], 2, 1), Some(7));
        let limits = pod(&[ALL, ALL], 0, 0).resources().limits;
        assert_eq!((limits.cpu_milli, limits.memory), (Some(200), Some(2000)));
        let limits = pod(&[ALL, NOTHING], 0, 0).resources().limits;
        assert_eq!((limits.cpu_milli, limits.memory), (None, None));
    }

    #[test]
    fn a_sidecar_counts_as_the_least_of_the_regular_containers() {
        let memory = |bytes| [None, None, bytes, None];
        let counts = |sidecar, init, regular: [Option<u64>; 2]| {
            let said = [sidecar, init, regular[0], regular[1]].map(memory);
            let pod = pod(&said, 2, 1);
            let count = |container| pod.memory_that_counts(container);
            assert_eq!(count(&pod.init_containers[1]), init);
            assert_eq!(count(&pod.containers[0]), regular[0]);
            count(&pod.init_containers[0])
        };
        assert_eq!(counts(Some(1), None, [Some(7), Some(5)]), Some(5));
        assert_eq!(counts(None, Some(9), [Some(5), Some(7)]), Some(5));
        assert_eq!(counts(Some(6), None, [Some(7), Some(5)]), Some(6));
        assert_eq!(counts(Some(1), None, [Some(7), None]), Some(1));
        assert_eq!(counts(None, None, [None, None]), None);
    }
}
