// timed: run a command; write what it cost by the operating system's own accounting.
//
//   g++ -O3 -o timed timed.cpp
//   timed REPORT COMMAND [ARGUMENT …]
//
// REPORT gets one line: exit status (128 + signal), wall ns, user us, system us, peak KiB. CPU is that of the
// command and of the children that it waited for, peak the resident size of the largest of them.
// Why not from Python: a process counts its parent's memory as its own peak, up to its exec.
// The command dies with `timed`, and `timed` with the process that started it.
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long us(const timeval &time) { return time.tv_sec * 1000000LL + time.tv_usec; }

int main(int count, char **words) {
  if (count < 3) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const long long began = now_ns();
  const pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(words[2], words + 2);
    perror(words[2]);
    _exit(127);
  }
  int status;
  rusage used;
  if (wait4(child, &status, 0, &used) != child) return 1;
  const long long wall_ns = now_ns() - began;
  FILE *report = fopen(words[1], "w");
  if (!report) return 1;
  fprintf(report, "%d %lld %lld %lld %ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), wall_ns,
          us(used.ru_utime), us(used.ru_stime), used.ru_maxrss);
  return fclose(report) ? 1 : 0;
}
