"""What is left of the digits: errors of Grams, HSIC, CKA and CCA, and the page that shows them.

python -m benchmarks.numerics        measure everything, write results/numerics.csv and the tables of docs/numerics.md
"""
