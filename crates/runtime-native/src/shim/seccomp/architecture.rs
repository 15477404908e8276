//! The numbers that system calls have, which differ between what one machine can run.

/// What a program may be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "of two families of processors one is this machine's"
)]
pub(super) enum Architecture {
    /// 64 bits of Intel's and AMD's.
    X86_64,
    /// 32 bits of the same.
    X86,
    /// 64 bits with short pointers; to the kernel it is [`Self::X86_64`] with large numbers.
    X32,
    /// 64 bits of ARM's.
    Aarch64,
    /// 32 bits of the same.
    Arm,
}

impl Architecture {
    /// What this program is made for.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: Self = Self::X86_64;
    /// What this program is made for.
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: Self = Self::Aarch64;

    #[cfg(target_arch = "x86_64")]
    const HERE: [Self; 3] = [Self::X86_64, Self::X86, Self::X32];
    #[cfg(target_arch = "aarch64")]
    const HERE: [Self; 2] = [Self::Aarch64, Self::Arm];

    /// The one of this name, if this machine's processors may run it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::HERE.into_iter().find(|known| known.name() == name)
    }

    /// The name in a profile.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// The name in a condition of Docker's form.
    pub(super) const fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// What the kernel calls it, audit.h.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits.
    pub(super) const fn is_wide(self) -> bool {
        !matches!(self, Self::X86 | Self::Arm)
    }

    /// Its system calls, by name.
    pub(super) fn calls(self) -> Vec<(&'static str, u32)> {
        /// Of every number of [`Self::X32`].
        const X32_BIT: u32 = 0x4000_0000;
        let base = if self == Self::X32 { X32_BIT } else { 0 };
        let entries = self.table().lines().filter_map(|line| {
            let (name, number) = line.split_once(' ')?;
            Some((name, base + number.parse::<u32>().ok()?))
        });
        entries.collect()
    }

    /// Not an array of strings, each of which would be a pointer that the loader has to write.
    #[cfg(target_arch = "x86_64")]
    const fn table(self) -> &'static str {
        match self {
            Self::X86_64 => include_str!("x86_64.txt"),
            Self::X86 => include_str!("x86.txt"),
            Self::X32 => include_str!("x32.txt"),
            Self::Aarch64 | Self::Arm => "",
        }
    }

    #[cfg(target_arch = "aarch64")]
    const fn table(self) -> &'static str {
        match self {
            Self::Aarch64 => include_str!("aarch64.txt"),
            Self::Arm => include_str!("arm.txt"),
            Self::X86_64 | Self::X86 | Self::X32 => "",
        }
    }
}
