# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves behind: the score sheet (table and CSV files) and montages in display orientation."""
