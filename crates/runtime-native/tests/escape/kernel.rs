//! What is the whole host's.

use crate::ground::refused;

refused! {
    no_ring_of_calls_is_made: "uring";
    nothing_of_sys_is_writable: "any_writable" "/sys";
    nothing_of_proc_is_writable: "any_writable" "/proc";
    no_group_says_what_runs_at_its_end: "open_write" "/sys/fs/cgroup/memory/release_agent";
    no_hierarchy_of_groups_is_mounted: "mount_cgroup" "cgroup";
    keyrings_are_not_for_containers: "key_session";
    no_key_is_added: "key_add";
    no_program_is_loaded_into_the_kernel: "load_bpf";
    no_performance_counter_is_opened: "perf";
    no_page_fault_is_handled: "fault_handler";
    no_module_is_loaded: "load_module";
    no_other_kernel_is_loaded: "load_kernel";
    the_host_is_not_restarted: "restart_host";
    swap_is_not_switched: "swap";
    the_clock_is_not_set: "set_clock";
    ports_of_the_processor_are_closed: "ports";
    accounting_is_not_switched: "account";
    the_host_name_stays: "host_name";
    nobody_gets_real_time: "real_time";
    the_kernels_log_is_not_read: "kernel_log";
    no_address_is_added: "set_address";
    the_core_pattern_is_not_written: "open_write" "/proc/sys/kernel/core_pattern";
    the_module_loader_is_not_written: "open_write" "/proc/sys/kernel/modprobe";
    the_memory_policy_is_not_written: "open_write" "/proc/sys/vm/overcommit_memory";
    the_magic_key_is_not_pressed: "open_write" "/proc/sysrq-trigger";
    interrupts_are_not_moved: "open_write" "/proc/irq/default_smp_affinity";
    formats_of_programs_are_not_registered: "open_write" "/proc/sys/fs/binfmt_misc/register";
    the_event_program_is_not_written: "open_write" "/sys/kernel/uevent_helper";
    the_host_does_not_sleep: "open_write" "/sys/power/state";
    huge_pages_are_not_switched: "open_write" "/sys/kernel/mm/transparent_hugepage/enabled";
    memory_of_the_kernel_is_not_read: "open_read" "/proc/kcore";
    keys_are_not_read: "open_read" "/proc/keys";
    timers_are_not_read: "open_read" "/proc/timer_list";
    firmware_is_not_read: "open_read" "/sys/firmware/acpi/tables/DSDT";
    memory_has_no_device: "open_read" "/dev/mem";
    the_log_has_no_device: "open_read" "/dev/kmsg";
    no_device_of_memory_is_made: "make_device" "c" "1" "1";
    no_device_of_the_log_is_made: "make_device" "c" "1" "11";
    no_device_of_a_disk_is_made: "make_device" "b" "8" "0";
    no_file_system_is_mounted: "mount_tmpfs";
    no_cgroup_is_mounted: "mount_cgroup" "cgroup2";
    no_mount_is_copied: "clone_tree" "/";
    no_file_system_is_made: "new_file_system" "tmpfs";
    the_root_is_not_changed: "pivot";
    proc_does_not_become_writable: "remount_writable" "/proc/sys";
    no_mount_of_proc_becomes_writable: "set_writable" "/proc/sys";
    the_cover_of_proc_stays: "unmount" "/proc/sys";
    sys_does_not_become_writable: "remount_writable" "/sys";
}
