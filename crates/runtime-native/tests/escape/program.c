/*
 * In the place of the dynamic loader, and so called by the kernel for a program that wants one: `/proc/self/exe` is
 * that program then, and everything else is the image's.
 *
 * Exit codes as those of escape.c: 0 the program can be changed, 1 it cannot, 2 it could not be tried. Changes
 * nothing: an owner of -1 is the same owner, but asking for it asks for the right to change it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d)
{
	long result;
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	result = x0;
#else
#error "which registers has a system call here?"
#endif
	return result;
}

void _start(void)
{
	static const char own[] = "/proc/self/exe";
	long code = 1;
	long fd = call(SYS_openat, AT_FDCWD, (long)own, O_RDONLY, 0);
	if (fd < 0)
		code = 2;
	else if (call(SYS_fchown, fd, -1, -1, 0) == 0)
		code = 0;
	else if (call(SYS_openat, AT_FDCWD, (long)own, O_WRONLY, 0) >= 0)
		code = 0;
	call(SYS_exit_group, code, 0, 0, 0);
	__builtin_unreachable();
}
