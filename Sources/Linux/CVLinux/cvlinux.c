// The target is headers only; one translation unit checks that they stand alone.
#include "cvlinux_attach.h"
#include "cvlinux_callers.h"
#include "cvlinux_files.h"
#include "cvlinux_loop.h"
#include "cvlinux_mount.h"
#include "cvlinux_network.h"
#include "cvlinux_programs.h"
