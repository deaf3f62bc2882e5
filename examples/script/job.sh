#!/bin/bash
#SBATCH --job-name=pi-digits
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --mem=200M
#SBATCH --time=00:05:00
#SBATCH --output=pi-%j.out
#SBATCH --mail-type=NONE

# What follows is what it would be with sbatch: headrace changes nothing in it.
set -euo pipefail
digits=${1:-1000}

echo "job $SLURM_JOB_ID, ${SLURM_NTASKS:-1} tasks on $SLURM_JOB_NODELIST, started in $SLURM_SUBMIT_DIR"
srun --label hostname

python3 - "$digits" <<'PYTHON'
import sys


def pi(digits: int) -> int:
    """Machin's formula in whole numbers: 16 atan(1/5) - 4 atan(1/239)."""
    unit = 10 ** (digits + 10)

    def arctan_of_inverse(x: int) -> int:
        total = term = unit // x
        n, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    return (16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)) // 10**10


digits = int(sys.argv[1])
text = str(pi(digits))
assert text.startswith("31415926535897932384626433832795028841971693993751")
print(f"pi to {digits} digits ends in {text[-10:]}")
PYTHON
