//! Probes that are refused.

use super::*;

const PROBE: &str = "spec.containers[0].livenessProbe";

#[test]
fn probes_are_validated() {
    let tcp = "tcpSocket: {port: 80}";
    for (probe, expected) in [
        (tcp, &[][..]),
        ("{}", &["@: Required value: must specify a handler type"]),
        (
            "tcpSocket: {port: 80}\nexec: {command: [a]}",
            &["@.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "tcpSocket: {port: 0}\nexec: {command: []}\nhttpGet: {port: 80}",
            &[
                "@.exec.command: Required value",
                "@.httpGet: Forbidden: may not specify more than 1 handler type",
                "@.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ],
        ),
        ("exec: {}", &["@.exec.command: Required value"]),
        ("exec:\n  command: []", &["@.exec.command: Required value"]),
        (
            "tcpSocket: {port: 0}",
            &["@.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "tcpSocket: {}",
            &["@.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "httpGet: {port: 65536}",
            &["@.httpGet.port: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "httpGet: {port: '80'}",
            &["@.httpGet.port: Invalid value: \"80\": must contain at least one letter (a-z)"],
        ),
        (
            "httpGet: {port: not-among-the-ports}",
            &[
                "@.httpGet.port: Invalid value: \"not-among-the-ports\": must be no more than 15 characters",
            ],
        ),
        ("httpGet: {port: unknown}", &[]),
        (
            "httpGet: {port: true}",
            &["@.httpGet.port: expected an integer or a string, got true"],
        ),
        (
            "httpGet: {port: 80, scheme: http}",
            &[
                "@.httpGet.scheme: Unsupported value: \"http\": supported values: \"HTTP\", \"HTTPS\"",
            ],
        ),
        (
            "httpGet: {port: 80, httpHeaders: [{name: 'a b', value: c}]}",
            &[
                "@.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        ("grpc: {port: 80}", &[]),
        ("grpc: {port: 65535, service: a.b.C}", &[]),
        (
            "grpc: {}",
            &["@.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "grpc: {port: 65536}",
            &["@.grpc.port: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "grpc: {port: health}",
            &["@.grpc.port: expected an integer, got \"health\""],
        ),
        (
            "tcpSocket: {port: 80}\ngrpc: {port: 0}",
            &["@.grpc: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "tcpSocket: {port: 80}\nsuccessThreshold: 2",
            &["@.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            "tcpSocket: {port: 80}\nfailureThreshold: -1\nsuccessThreshold: -2\nperiodSeconds: -3\ntimeoutSeconds: -4\ninitialDelaySeconds: -5",
            &[
                "@.initialDelaySeconds: Invalid value: -5: must be greater than or equal to 0",
                "@.timeoutSeconds: Invalid value: -4: must be greater than or equal to 0",
                "@.periodSeconds: Invalid value: -3: must be greater than or equal to 0",
                "@.successThreshold: Invalid value: -2: must be greater than or equal to 0",
                "@.failureThreshold: Invalid value: -1: must be greater than or equal to 0",
                "@.successThreshold: Invalid value: -2: must be 1",
            ],
        ),
        (
            "tcpSocket: {port: 80}\nterminationGracePeriodSeconds: -1",
            &["@.terminationGracePeriodSeconds: Invalid value: -1: must be greater than 0"],
        ),
        (
            "tcpSocket: {port: 80}\nterminationGracePeriodSeconds: 0",
            &["@.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            "tcpSocket: {port: 80}\nperiodSeconds: 1.5",
            &["@.periodSeconds: expected an integer, got 1.5"],
        ),
        (
            "tcpSocket: {port: 80}\nperiodSeconds: 3000000000",
            &["@.periodSeconds: expected a 32-bit integer, got 3000000000"],
        ),
        (
            "tcpSocket: {port: 80}\nperiodSeconds: 5s",
            &["@.periodSeconds: expected an integer, got \"5s\""],
        ),
        (
            "httpget: {port: 80}",
            &["unknown field \"@.httpget\", did you mean \"httpGet\"?"],
        ),
        (
            "tcpSocket: 80",
            &["@.tcpSocket: expected an object, got 80"],
        ),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|line| line.replace("@", PROBE))
            .collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        in_container(
            &format!("livenessProbe:\n{}", indented(probe, 2)),
            &expected,
        );
    }
}

#[test]
fn readiness_differs_from_the_other_two() {
    in_container(
        "readinessProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
        &[],
    );
    in_container(
        "readinessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 5}",
        &[
            "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
        ],
    );
    in_container(
        "startupProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
        &["spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1"],
    );
    in_container(
        "startupProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 5}",
        &[],
    );
}
