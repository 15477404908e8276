//! What every runtime promises, as cases: each is a function that asks a runtime of its own for something and
//! looks at what comes of it with real processes, files and sockets. [`each_case`] lists them; a runtime's tests
//! make a test of each, as `crates/runtime-native/tests/conformance` does.
//!
//! Start reading at [`world::World`], which is what a runtime is put into, then any of the files.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, and the name of each says what it is about"
)]

pub mod attach;
pub mod capabilities;
pub mod containers;
pub mod exec;
pub mod files;
pub mod fs_group;
pub mod hostile_images;
pub mod image_root;
pub mod last_words;
pub mod layers;
pub mod lifecycle;
pub mod namespaces;
pub mod network;
pub mod seccomp;
pub mod services;
pub mod sessions;
pub mod sub_path;
pub mod usage;
pub mod volume_files;
pub mod world;

/// Calls a macro with all cases, `file: case case ...;` for each file.
#[macro_export]
macro_rules! each_case {
    ($with:ident) => {
        $with! {
            attach:
                several_see_what_comes_after_they_joined
                stdin_is_shared_and_stays
                stdin_once_ends_with_the_first_who_had_it
                without_a_stdin_there_is_none_to_join
                a_container_may_run_on_a_terminal
                one_who_does_not_read_holds_the_log_up_for_a_while_only
                a_slow_reader_gets_all_of_it_and_only_then_the_end
                an_agent_that_comes_back_can_join;
            capabilities:
                capabilities_are_those_of_containerd
                another_user_has_none_but_could_get_them
                capabilities_are_added_and_dropped
                a_privileged_container_has_all_there_is
                privileges_are_not_gained_where_that_is_not_allowed;
            containers:
                exit_codes_and_signals_are_exact
                commands_that_cannot_be_executed_are_named
                what_the_kernel_does_not_execute_has_begun_and_ends_with_1
                term_is_ignored_until_the_grace_is_over
                environment_directory_and_user
                logs_have_the_cri_format_and_all_of_the_output
                of_the_ended_runs_of_a_container_the_last_is_kept;
            exec:
                exec_gives_code_and_output_cut_to_the_limit
                a_timed_out_exec_leaves_nothing_not_even_a_zombie
                a_daemon_neither_delays_exec_nor_dies_with_it
                twenty_execs_at_once
                a_command_that_was_stopped_is_ended_in_time
                a_command_that_kills_itself_has_an_exit_code_of_its_own
                a_command_that_goes_with_its_container_has_none
                a_long_command_line_is_taken_whole;
            files:
                volumes_of_every_type_are_checked
                empty_dirs_are_shared_outlive_containers_and_end_with_the_pod
                root_in_a_container_cannot_make_the_host_writable;
            fs_group:
                the_group_of_files_that_are_updated;
            hostile_images:
                symlinks_that_others_make_in_a_volume_are_not_followed_out
                volumes_that_an_image_asks_for_stay_inside_too;
            image_root:
                what_is_the_hosts_own_is_masked
                a_privileged_container_has_the_hosts_devices
                a_read_only_root_leaves_volumes_writable
                hosts_and_resolv_conf_are_the_pods
                of_a_read_only_root_the_hosts_file_is_writable
                shared_memory_is_the_pods
                working_directories_are_made_and_the_stop_signal_of_the_image_is_sent
                the_command_of_an_image_is_process_1;
            last_words:
                a_run_begins_with_an_empty_file
                the_log_stands_in_only_for_a_failure_without_a_file
                a_hostile_container_harms_nobody_and_its_exit_is_told
                what_cannot_be_mounted_is_said;
            lifecycle:
                a_caller_that_comes_back_finds_all_as_it_was
                a_pod_that_stands_is_started_again_by_doing_nothing
                what_nobody_knows_is_stopped_and_removed_without_error
                an_id_is_used_once
                a_removed_pod_is_gone_with_all_that_ran
                a_deadline_of_a_stop_only_comes_nearer;
            namespaces:
                the_hosts_processes_are_seen_where_asked_for
                ipc_is_the_pods_own_or_the_hosts
                sysctls_are_those_of_the_pod
                sysctls_that_cannot_be_are_named
                containers_of_a_pod_may_see_each_others_processes
                a_container_in_the_pods_pid_namespace_ends_with_all_it_started
                a_container_among_the_hosts_processes_ends_with_all_it_started;
            network:
                two_pods_listen_on_one_port
                any_user_may_listen_on_any_port_of_a_pod
                a_pod_on_the_hosts_network_is_reached_there;
            seccomp:
                the_default_profile_is_on
                what_is_not_confined_has_no_filter;
            services:
                a_service_is_answered_beside_a_server_on_all_addresses
                what_nobody_answers_in_the_range_of_services_is_refused
                datagrams_reach_a_port_that_needs_a_privilege_on_the_host
                an_agent_that_comes_back_can_answer_again;
            sessions:
                streams_are_separate_and_the_exit_code_is_exact
                a_signal_counts_on_from_128
                what_is_not_wanted_reads_nothing_and_is_thrown_away
                megabytes_go_both_ways_at_once
                a_terminal_loses_nothing_of_what_was_last
                thirty_sessions_at_once
                commands_that_cannot_be_executed_fail_to_open
                a_terminal_has_a_size_and_tells_of_a_new_one
                a_terminal_controls_its_jobs
                a_dropped_session_closes_its_streams_and_ends_nothing
                a_session_ends_with_its_container
                sessions_asked_of_a_container_that_starts_wait_for_it
                a_daemon_that_holds_the_streams_does_not_hold_the_end_up
                a_closed_end_is_told_to_who_writes;
            sub_path:
                a_sub_path_is_made_and_mounted
                no_sub_path_leads_out_of_its_volume;
            usage:
                usage_grows_with_what_is_used
                nobody_tells_what_an_unknown_pod_uses
                a_volume_over_its_limit_is_told_of;
            volume_files:
                a_volume_of_files_cannot_be_written_to
                an_update_is_seen_at_one_moment
                what_cannot_be_written_is_said_and_changes_nothing;
        }
    };
}
pub use crate::each_case;
