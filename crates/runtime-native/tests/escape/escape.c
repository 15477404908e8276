/*
 * Attempts to get out of a container, each by one word and its arguments.
 *
 * Exit codes: 0 it got out, 1 it was refused, 2 it could not be tried. What it does when it gets out is
 * harmless to the host: it opens, and does not write; it sets what is set already.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_addr.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/rtnetlink.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif

enum { OUT = 0, REFUSED = 1, UNTRIED = 2 };

static int refused(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return REFUSED;
}

static int untried(const char *what)
{
	printf("could not try, %s: %s\n", what, strerror(errno));
	return UNTRIED;
}

static int verdict(const char *what, long result)
{
	if (result < 0)
		return refused(what);
	printf("%s: done\n", what);
	return OUT;
}

/* --- Files of the host ------------------------------------------------------------------------------- */

static int open_read(char **args)
{
	char byte;
	int fd = open(args[0], O_RDONLY);
	if (fd < 0)
		return refused(args[0]);
	if (read(fd, &byte, 1) == 1)
		return verdict(args[0], 0);
	printf("%s: nothing to read\n", args[0]);
	return REFUSED;
}

static int open_write(char **args)
{
	return verdict(args[0], open(args[0], O_WRONLY));
}

/* PATH from the root of every process there is. */
static int other_roots(char **args)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[4096];
	if (!proc)
		return untried("/proc");
	while ((entry = readdir(proc))) {
		if (!atoi(entry->d_name))
			continue;
		for (int cwd = 0; cwd < 2; cwd++) {
			snprintf(path, sizeof(path), "/proc/%s/%s/%s%s", entry->d_name, cwd ? "cwd" : "root",
				 cwd ? "../../../../../../../.." : "", args[0]);
			if (open(path, O_RDONLY) >= 0)
				return verdict(path, 0);
		}
	}
	errno = ENOENT;
	return refused("the root of any process");
}

static int dot_dot(char **args)
{
	char path[4096];
	snprintf(path, sizeof(path), "/../../../../../../../../../..%s", args[0]);
	return verdict(path, open(path, O_RDONLY));
}

/* The classical way out of a chroot: below a second one with a directory of the first still open. */
static int chroot_breakout(char **args)
{
	mkdir("/tmp/jail", 0755);
	int fd = open("/", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return untried("open /");
	if (chroot("/tmp/jail"))
		return refused("chroot");
	if (fchdir(fd))
		return untried("fchdir");
	for (int i = 0; i < 64; i++)
		if (chdir(".."))
			break;
	if (chroot("."))
		return untried("chroot .");
	return verdict(args[0], open(args[0], O_RDONLY));
}

/* A file handle of the root directory of the file system that a bind mounted file of the host is on. */
static int by_handle(char **args)
{
	struct {
		struct file_handle head;
		unsigned char bytes[8];
	} handle = { .head = { .handle_bytes = 8, .handle_type = 1 } };
	unsigned inode = 2;
	int mount = open(args[0], O_RDONLY);
	if (mount < 0)
		return untried(args[0]);
	memcpy(handle.head.f_handle, &inode, sizeof(inode));
	return verdict("open_by_handle_at", open_by_handle_at(mount, &handle.head, O_RDONLY));
}

/* Descriptors that somebody has forgotten to close. */
static int leaked_descriptors(char **args)
{
	(void)args;
	DIR *fds = opendir("/proc/self/fd");
	struct dirent *entry;
	char target[4096], path[512];
	int result = REFUSED;
	if (!fds)
		return untried("/proc/self/fd");
	while ((entry = readdir(fds))) {
		int fd = atoi(entry->d_name);
		if (entry->d_name[0] == '.' || fd <= 2 || fd == dirfd(fds))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t length = readlink(path, target, sizeof(target) - 1);
		target[length > 0 ? length : 0] = 0;
		printf("descriptor %d is %s\n", fd, target);
		result = OUT;
	}
	return result;
}

/* Any file of PATH and below that its owner alone may write to, and that can be opened for that. One that has nothing
 * to write is opened too by whoever may do all with files; one that everybody may write to is meant so. */
static int any_writable_below(const char *path, int depth)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat stat;
	char below[PATH_MAX];
	int result = REFUSED;
	while (dir && (entry = readdir(dir))) {
		/* In /proc, processes are of the container, and so are their files. */
		if (entry->d_name[0] == '.' || atoi(entry->d_name) || !strcmp(entry->d_name, "self") ||
		    !strcmp(entry->d_name, "thread-self"))
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		if (lstat(below, &stat))
			continue;
		if (S_ISDIR(stat.st_mode) && depth < 12) {
			if (any_writable_below(below, depth + 1) == OUT)
				result = OUT;
		} else if (S_ISREG(stat.st_mode) && (stat.st_mode & 0222) && !(stat.st_mode & 0002)) {
			int fd = open(below, O_WRONLY | O_NONBLOCK);
			if (fd >= 0) {
				printf("%s can be written to\n", below);
				close(fd);
				result = OUT;
			}
		}
	}
	if (dir)
		closedir(dir);
	return result;
}

static int any_writable(char **args)
{
	if (access(args[0], F_OK))
		return untried(args[0]);
	return any_writable_below(args[0], 0);
}

/* PATH LINK: until /tmp/enough is there, what was at the one is at the other, over and over. */
static int swap_names(char **args)
{
	unsigned long swaps = 0;
	while (access("/tmp/enough", F_OK)) {
		for (int i = 0; i < 1000; i++, swaps++)
			if (syscall(SYS_renameat2, AT_FDCWD, args[0], AT_FDCWD, args[1], 2 /* RENAME_EXCHANGE */))
				return untried("renameat2");
	}
	printf("%lu swaps\n", swaps);
	return REFUSED;
}

/* DEPTH directories in each other, at the end of which is a link to TARGET. */
static int dig(char **args)
{
	int at = open(args[0], O_RDONLY | O_DIRECTORY);
	for (int depth = atoi(args[1]); depth > 0; depth--) {
		int below;
		if (at < 0 || mkdirat(at, "d", 0755) || (below = openat(at, "d", O_RDONLY | O_DIRECTORY)) < 0)
			return untried("mkdirat");
		close(at);
		at = below;
	}
	return symlinkat(args[2], at, "link") ? untried("symlinkat") : REFUSED;
}

/* --- Mounts ------------------------------------------------------------------------------------------ */

static int mount_tmpfs(char **args)
{
	(void)args;
	mkdir("/tmp/mount", 0755);
	return verdict("mount tmpfs", mount("tmpfs", "/tmp/mount", "tmpfs", 0, NULL));
}

static int mount_cgroup(char **args)
{
	mkdir("/tmp/mount", 0755);
	return verdict("mount cgroup", mount("cgroup", "/tmp/mount", args[0], 0, NULL));
}

static int remount_writable(char **args)
{
	return verdict("remount", mount(NULL, args[0], NULL, MS_REMOUNT | MS_BIND, NULL));
}

static int set_writable(char **args)
{
	struct {
		unsigned long long set, clear, propagation, namespace;
	} attributes = { .clear = 1 /* MOUNT_ATTR_RDONLY */ };
	return verdict("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, args[0], 0, &attributes, sizeof(attributes)));
}

static int unmount(char **args)
{
	return verdict("umount", umount2(args[0], MNT_DETACH));
}

static int clone_tree(char **args)
{
	return verdict("open_tree", syscall(SYS_open_tree, AT_FDCWD, args[0], 1 /* OPEN_TREE_CLONE */));
}

static int new_file_system(char **args)
{
	return verdict("fsopen", syscall(SYS_fsopen, args[0], 0));
}

static int pivot(char **args)
{
	(void)args;
	return verdict("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
}

/* --- Devices ----------------------------------------------------------------------------------------- */

/* KIND MAJOR MINOR */
static int make_device(char **args)
{
	mode_t kind = args[0][0] == 'b' ? S_IFBLK : S_IFCHR;
	const char *place = "/tmp/device";
	char byte;
	unlink(place);
	if (mknod(place, kind | 0600, makedev(atoi(args[1]), atoi(args[2]))))
		return refused("mknod");
	int fd = open(place, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return refused("open the device");
	if (read(fd, &byte, 1) < 0 && errno != EAGAIN && errno != EFAULT)
		return refused("read the device");
	return verdict("device", 0);
}

/* --- Other processes --------------------------------------------------------------------------------- */

static int trace(char **args)
{
	return verdict("ptrace", ptrace(PTRACE_ATTACH, atoi(args[0]), 0, 0));
}

static int seize(char **args)
{
	return verdict("ptrace", ptrace(PTRACE_SEIZE, atoi(args[0]), 0, 0));
}

static int read_memory(char **args)
{
	char buffer[8], path[64], line[512];
	unsigned long start = 0x400000;
	snprintf(path, sizeof(path), "/proc/%s/maps", args[0]);
	FILE *maps = fopen(path, "r");
	if (maps && fgets(line, sizeof(line), maps))
		start = strtoul(line, NULL, 16);
	struct iovec local = { buffer, sizeof(buffer) }, remote = { (void *)start, sizeof(buffer) };
	return verdict("process_vm_readv", process_vm_readv(atoi(args[0]), &local, 1, &remote, 1, 0));
}

/* Any descriptor of process 1: its channel to the shim is one. */
static int take_descriptor(char **args)
{
	int pid = syscall(SYS_pidfd_open, atoi(args[0]), 0);
	if (pid < 0)
		return refused("pidfd_open");
	for (int fd = 0; fd < 64; fd++)
		if (syscall(SYS_pidfd_getfd, pid, fd, 0) >= 0)
			return verdict("pidfd_getfd", 0);
	errno = EPERM;
	return refused("pidfd_getfd");
}

static int open_descriptors(char **args)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/fd", args[0]);
	DIR *fds = opendir(path);
	if (!fds)
		return refused(path);
	struct dirent *entry;
	/* Their numbers may be seen by the owner of the directory; what is behind them may not. */
	while ((entry = readdir(fds))) {
		char target[64];
		if (entry->d_name[0] == '.')
			continue;
		if (readlinkat(dirfd(fds), entry->d_name, target, sizeof(target)) >= 0 ||
		    openat(dirfd(fds), entry->d_name, O_RDONLY | O_NONBLOCK) >= 0)
			return verdict(path, 0);
	}
	errno = EACCES;
	return refused(path);
}

/* A line of /proc/PID/status, as a number of that base. */
static unsigned long long status_of(const char *pid, const char *name, int base)
{
	char path[64], line[512];
	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	FILE *status = fopen(path, "r");
	unsigned long long value = ~0ULL;
	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name), NULL, base);
	if (status)
		fclose(status);
	return value;
}

/* Whether a process has capabilities that this one may not have, or makes calls that are filtered here. Whoever may
 * trace it has these too. */
static int more_power(char **args)
{
	unsigned long long own = status_of("self", "CapBnd:", 16), its = status_of(args[0], "CapPrm:", 16);
	unsigned long long filtered = status_of(args[0], "Seccomp:", 10);
	printf("process %s has %llx of %llx, seccomp %llu\n", args[0], its, own, filtered);
	/* WAKE_ALARM and BLOCK_SUSPEND are power over nothing. */
	return (its & ~own & ~(1ULL << 35 | 1ULL << 36)) || filtered != 2 ? OUT : REFUSED;
}

static int is_there(char **args)
{
	return verdict("kill", kill(atoi(args[0]), 0));
}

/* PID NAME: joins a namespace of another process. */
static int join_namespace(char **args)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/ns/%s", args[0], args[1]);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return refused(path);
	return verdict("setns", setns(fd, 0));
}

static int new_namespaces(char **args)
{
	(void)args;
	return verdict("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS));
}

static int new_mount_namespace(char **args)
{
	(void)args;
	return verdict("unshare", unshare(CLONE_NEWNS));
}

static int clone_user_namespace(char **args)
{
	(void)args;
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	return verdict("clone", pid);
}

static int clone3_user_namespace(char **args)
{
	(void)args;
	unsigned long long arguments[8] = { [0] = CLONE_NEWUSER, [4] = SIGCHLD };
	long pid = syscall(SYS_clone3, arguments, sizeof(arguments));
	if (pid == 0)
		_exit(0);
	return verdict("clone3", pid);
}

/* The program of whoever enters the container before it has become the container's own: to write to that
 * file later is to own the host. INODE is its. Ends when /tmp/enough is there. */
static int program_of_who_enters(char **args)
{
	char path[300];
	struct stat stat;
	unsigned long looks = 0;
	while (access("/tmp/enough", F_OK)) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;
		while (proc && (entry = readdir(proc))) {
			if (!atoi(entry->d_name))
				continue;
			snprintf(path, sizeof(path), "/proc/%s/exe", entry->d_name);
			int fd = open(path, O_RDONLY);
			looks++;
			if (fd >= 0 && !fstat(fd, &stat) && stat.st_ino == strtoul(args[0], NULL, 10)) {
				printf("%s is it\n", path);
				return OUT;
			}
			if (fd >= 0)
				close(fd);
		}
		if (proc)
			closedir(proc);
	}
	printf("%lu looks\n", looks);
	return REFUSED;
}

/* --- The kernel -------------------------------------------------------------------------------------- */

static int key_session(char **args)
{
	(void)args;
	return verdict("keyctl", syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, "escape"));
}

static int key_add(char **args)
{
	(void)args;
	return verdict("add_key", syscall(SYS_add_key, "user", "escape", "x", 1, -4 /* user keyring */));
}

static int load_bpf(char **args)
{
	(void)args;
	struct bpf_insn program[] = { { .code = 0xb7 }, { .code = 0x95 } };
	union bpf_attr attributes = {
		.prog_type = BPF_PROG_TYPE_KPROBE,
		.insns = (unsigned long)program,
		.insn_cnt = 2,
		.license = (unsigned long)"GPL",
	};
	return verdict("bpf", syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes)));
}

static int perf(char **args)
{
	(void)args;
	struct perf_event_attr attributes = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attributes) };
	return verdict("perf_event_open", syscall(SYS_perf_event_open, &attributes, -1, 0, -1, 0));
}

static int fault_handler(char **args)
{
	(void)args;
	return verdict("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int load_module(char **args)
{
	(void)args;
	/* EFAULT and ENOEXEC come after the question whether one may. */
	long result = syscall(SYS_init_module, NULL, 0, "");
	if (result < 0 && errno != EPERM && errno != ENOSYS)
		return verdict("init_module", 0);
	return verdict("init_module", result);
}

static int load_kernel(char **args)
{
	(void)args;
	long result = syscall(SYS_kexec_load, 0, 0, NULL, 0);
	if (result < 0 && errno != EPERM && errno != ENOSYS)
		return verdict("kexec_load", 0);
	return verdict("kexec_load", result);
}

static int restart_host(char **args)
{
	(void)args;
	return verdict("reboot", reboot(RB_DISABLE_CAD));
}

static int swap(char **args)
{
	(void)args;
	long result = swapoff("/nowhere");
	if (result < 0 && errno != EPERM && errno != ENOSYS)
		return verdict("swapoff", 0);
	return verdict("swapoff", result);
}

static int set_clock(char **args)
{
	(void)args;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return verdict("clock_settime", clock_settime(CLOCK_REALTIME, &now));
}

static int ports(char **args)
{
	(void)args;
#ifdef SYS_iopl
	return verdict("iopl", syscall(SYS_iopl, 3));
#else
	errno = ENOSYS;
	return refused("iopl");
#endif
}

static int account(char **args)
{
	(void)args;
	return verdict("acct", acct(NULL));
}

static int host_name(char **args)
{
	(void)args;
	char name[256];
	gethostname(name, sizeof(name));
	return verdict("sethostname", sethostname(name, strlen(name)));
}

static int real_time(char **args)
{
	(void)args;
	struct sched_param parameter = { .sched_priority = 1 };
	return verdict("sched_setscheduler", sched_setscheduler(0, SCHED_FIFO, &parameter));
}

static int kernel_log(char **args)
{
	(void)args;
	char buffer[64];
	return verdict("syslog", syscall(SYS_syslog, 3, buffer, sizeof(buffer)));
}

static int uring(char **args)
{
	(void)args;
	char parameters[120] = { 0 };
	return verdict("io_uring_setup", syscall(SYS_io_uring_setup, 1, parameters));
}

/* A socket to the host of a virtual machine, which no network namespace bounds. */
static int vsock(char **args)
{
	(void)args;
	return verdict("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
}

/* --- What belongs to others -------------------------------------------------------------------------- */

static int shared_memory(char **args)
{
	return verdict("shmget", shmget(atoi(args[0]), 0, 0));
}

static int local_socket(const char *name, int abstract)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	int stream = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || stream < 0)
		return untried("socket");
	size_t length = strlen(name);
	if (length + 2 > sizeof(address.sun_path)) {
		/* By its directory, as whoever may go there would. */
		char directory[4096];
		snprintf(directory, sizeof(directory), "%s", name);
		char *last = strrchr(directory, '/');
		*last = 0;
		if (chdir(directory))
			return refused(directory);
		name = last + 1;
		length = strlen(name);
	}
	memcpy(address.sun_path + abstract, name, length);
	socklen_t size = sizeof(sa_family_t) + abstract + length;
	if (connect(fd, (void *)&address, size) == 0)
		return verdict("connect", 0);
	return verdict("connect", connect(stream, (void *)&address, size));
}

static int abstract_socket(char **args)
{
	return local_socket(args[0], 1);
}

static int socket_file(char **args)
{
	return local_socket(args[0], 0);
}

/* Gives the loopback interface one more address. */
static int set_address(char **args)
{
	(void)args;
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg body;
		struct rtattr kind;
		unsigned char address[4];
	} message = {
		.head = { .nlmsg_len = sizeof(message), .nlmsg_type = RTM_NEWADDR,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE },
		.body = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 1 },
		.kind = { .rta_len = 8, .rta_type = IFA_LOCAL },
		.address = { 10, 99, 99, 99 },
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (fd < 0)
		return refused("netlink");
	if (send(fd, &message, sizeof(message), 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		return refused("netlink");
	errno = -answer.error.error;
	return verdict("new address", answer.error.error);
}

static int connects(const char *address, int port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	int is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
		return -1;
	int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
	socklen_t size = sizeof(error);
	if (fd < 0)
		return -1;
	if (connect(fd, is_six ? (void *)&six : (void *)&four, is_six ? sizeof(six) : sizeof(four)) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	if (poll(&wait, 1, 300) <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) || error)
		errno = error ? error : ETIMEDOUT, error = -1;
	close(fd);
	return error;
}

/* PORT ADDRESS...: whoever listens there. */
static int reach(char **args)
{
	for (char **address = args + 1; *address; address++) {
		if (connects(*address, atoi(args[0])) == 0) {
			printf("%s port %s answers\n", *address, args[0]);
			return OUT;
		}
		printf("%s: %s\n", *address, strerror(errno));
	}
	return REFUSED;
}

static unsigned short checksum(const void *bytes, size_t length, unsigned long sum)
{
	const unsigned char *byte = bytes;
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += byte[i] << 8 | byte[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* PORT FROM TO...: a first packet of TCP, made by hand, from an address that need not be this pod's, sent into every
 * interface but the first. Whether anybody accepts it. */
static int spoof(char **args)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(0x0800)), interfaces = 0, accepted = 0, declined = 0;
	if (fd < 0)
		return refused("AF_PACKET");
	for (char **to = args + 2; *to; to++) {
		unsigned char packet[40] = { 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6 };
		inet_pton(AF_INET, args[1], packet + 12);
		inet_pton(AF_INET, *to, packet + 16);
		unsigned short sum = checksum(packet, 20, 0);
		packet[10] = sum >> 8, packet[11] = sum;
		packet[20] = 0x9c, packet[21] = 0x40; /* from port 40000 */
		packet[22] = atoi(args[0]) >> 8, packet[23] = atoi(args[0]);
		packet[32] = 0x50, packet[33] = 2 /* SYN */, packet[34] = 0xff;
		sum = checksum(packet + 20, 20, checksum(packet + 12, 8, 6 + 20) ^ 0xffff);
		packet[36] = sum >> 8, packet[37] = sum;
		for (int interface = 2; interface < 300; interface++) {
			struct sockaddr_ll place = { .sll_family = AF_PACKET, .sll_protocol = htons(0x0800),
						     .sll_ifindex = interface, .sll_halen = 6,
						     .sll_addr = { 2, 0, 127, 213, 0, 0 } };
			interfaces += sendto(fd, packet, sizeof(packet), 0, (void *)&place, sizeof(place)) > 0;
		}
	}
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	unsigned char answer[128];
	while (poll(&wait, 1, 300) > 0 && recv(fd, answer, sizeof(answer), 0) >= 40)
		if (answer[9] == 6 && (answer[20] << 8 | answer[21]) == atoi(args[0])) {
			accepted += (answer[33] & 0x12) == 0x12;
			declined += (answer[33] & 4) != 0;
		}
	printf("%d packets sent, %d accepted, %d declined\n", interfaces, accepted, declined);
	if (!interfaces)
		return untried("no interface");
	return accepted ? OUT : REFUSED;
}

/* As another user, a program that belongs to root and runs as its owner. */
static int become_root(char **args)
{
	if (args[0] && !strcmp(args[0], "now"))
		return geteuid() == 0 ? verdict("geteuid", 0) : (errno = EPERM, refused("geteuid"));
	if (geteuid() == 0)
		return untried("this is root already");
	execl("/bin/escape-setuid", "escape-setuid", "become_root", "now", NULL);
	return untried("execute /bin/escape-setuid");
}

/* Whoever is killed by all that there are is in this container. */
static int count_processes(char **args)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int count = 0;
	if (!proc)
		return untried("/proc");
	while ((entry = readdir(proc)))
		count += atoi(entry->d_name) > 0;
	printf("%d processes\n", count);
	return count > atoi(args[0]) ? OUT : REFUSED;
}

static const struct {
	const char *name;
	int (*try)(char **args);
} ATTEMPTS[] = {
	{ "open_read", open_read },
	{ "open_write", open_write },
	{ "other_roots", other_roots },
	{ "dot_dot", dot_dot },
	{ "chroot_breakout", chroot_breakout },
	{ "by_handle", by_handle },
	{ "leaked_descriptors", leaked_descriptors },
	{ "mount_tmpfs", mount_tmpfs },
	{ "mount_cgroup", mount_cgroup },
	{ "remount_writable", remount_writable },
	{ "set_writable", set_writable },
	{ "unmount", unmount },
	{ "clone_tree", clone_tree },
	{ "new_file_system", new_file_system },
	{ "pivot", pivot },
	{ "make_device", make_device },
	{ "trace", trace },
	{ "seize", seize },
	{ "read_memory", read_memory },
	{ "take_descriptor", take_descriptor },
	{ "open_descriptors", open_descriptors },
	{ "is_there", is_there },
	{ "join_namespace", join_namespace },
	{ "new_namespaces", new_namespaces },
	{ "new_mount_namespace", new_mount_namespace },
	{ "clone_user_namespace", clone_user_namespace },
	{ "clone3_user_namespace", clone3_user_namespace },
	{ "program_of_who_enters", program_of_who_enters },
	{ "key_session", key_session },
	{ "key_add", key_add },
	{ "load_bpf", load_bpf },
	{ "perf", perf },
	{ "fault_handler", fault_handler },
	{ "load_module", load_module },
	{ "load_kernel", load_kernel },
	{ "restart_host", restart_host },
	{ "swap", swap },
	{ "set_clock", set_clock },
	{ "ports", ports },
	{ "account", account },
	{ "host_name", host_name },
	{ "real_time", real_time },
	{ "kernel_log", kernel_log },
	{ "shared_memory", shared_memory },
	{ "abstract_socket", abstract_socket },
	{ "socket_file", socket_file },
	{ "set_address", set_address },
	{ "become_root", become_root },
	{ "more_power", more_power },
	{ "any_writable", any_writable },
	{ "swap_names", swap_names },
	{ "dig", dig },
	{ "uring", uring },
	{ "vsock", vsock },
	{ "reach", reach },
	{ "spoof", spoof },
	{ "count_processes", count_processes },
};

int main(int count, char **args)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	for (size_t i = 0; count > 1 && i < sizeof(ATTEMPTS) / sizeof(*ATTEMPTS); i++)
		if (!strcmp(args[1], ATTEMPTS[i].name))
			return ATTEMPTS[i].try(args + 2);
	printf("no such attempt\n");
	return UNTRIED;
}
